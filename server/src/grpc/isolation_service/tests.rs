mod errors;
mod execute;
mod flow;
mod pages;
