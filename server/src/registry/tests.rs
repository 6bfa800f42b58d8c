mod alternatives;
mod concurrency;
mod outages;
mod poison;
mod requests;
mod subscribers;
mod writes;
