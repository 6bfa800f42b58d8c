mod coverage;
mod fields;
mod inert;
mod presence;
mod presets;
mod robustness;
