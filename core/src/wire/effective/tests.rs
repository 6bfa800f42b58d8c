mod coverage;
mod fields;
mod forms;
mod inert;
mod presence;
mod presets;
mod robustness;
mod roomy;
