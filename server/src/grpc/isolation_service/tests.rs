mod errors;
mod execute;
mod flow;
mod overview;
mod pages;
