//! The SDK over real sockets, against a manager that does what a test tells it to.

#[cfg(test)]
#[cfg(feature = "tower")]
mod layer;
#[cfg(test)]
mod manager;
#[cfg(test)]
mod register;
#[cfg(test)]
mod sync;
