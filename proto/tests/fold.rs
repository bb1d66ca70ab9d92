//! Tests the fold as a whole, from outside: what holds for any group, any policy,
//! and any order of ends and failures, and what a rollout costs.

#[path = "fold/cost.rs"]
mod cost;
#[path = "fold/fleet.rs"]
mod fleet;
#[path = "fold/forecast.rs"]
mod forecast;
#[path = "fold/naive.rs"]
mod naive;
#[path = "fold/properties.rs"]
mod properties;
