mod alternatives;
mod changes;
mod concurrency;
mod outages;
mod poison;
mod requests;
mod subscribers;
mod writes;
