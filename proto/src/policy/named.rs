//! Named deployment configurations: how many hosts at a time and in which order,
//! under a name that the groups of a mesh share (CodeDeploy's
//! `create-deployment-config`).
//!
//! A configuration is looked up when a deployment is submitted, so a change of it
//! never affects a running deployment.

use serde::{Deserialize, Serialize};

use super::{Canary, InvalidPolicy, Minimum, Policy, Zonal};
use crate::id::ConfigName;

/// The names that have the same meaning in every mesh, and can never be redefined.
pub const PREDEFINED: [(&str, Minimum); 3] = [
    ("OneAtATime", Minimum::OneAtATime),
    ("HalfAtATime", Minimum::HalfAtATime),
    ("AllAtOnce", Minimum::AllAtOnce),
];

/// The part of a policy that can be given a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentConfig {
    /// The name of the configuration.
    pub name: ConfigName,
    /// The number of hosts that must stay healthy.
    pub minimum: Minimum,
    /// The most turns at a time; `None` for no cap besides the minimum.
    pub turns_max: Option<u32>,
    /// Deploy to a few hosts first.
    pub canary: Option<Canary>,
    /// Deploy to one zone at a time.
    pub zonal: Option<Zonal>,
}

impl DeploymentConfig {
    /// Makes a policy follow this configuration.
    pub fn put_on(&self, policy: &mut Policy) {
        policy.minimum = self.minimum;
        policy.turns_max = self.turns_max;
        policy.canary = self.canary;
        policy.zonal = self.zonal.clone();
    }

    /// Checks the limits that hold for every group.
    /// # Errors
    /// The first limit that is exceeded.
    pub fn validate(&self) -> Result<(), InvalidPolicy> {
        let mut policy = Policy::default();
        self.put_on(&mut policy);
        policy.validate()
    }
}
