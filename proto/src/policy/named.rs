//! Named deployment configurations: how many at a time and in which order,
//! under a name that the groups of a mesh share (CodeDeploy's
//! `create-deployment-config`).

use serde::{Deserialize, Serialize};

use super::{Canary, InvalidPolicy, Minimum, Policy, Zonal};
use crate::id::ConfigName;

/// The names that mean the same in every mesh, for ever.
pub const PREDEFINED: [(&str, Minimum); 3] = [
    ("OneAtATime", Minimum::OneAtATime),
    ("HalfAtATime", Minimum::HalfAtATime),
    ("AllAtOnce", Minimum::AllAtOnce),
];

/// The part of a policy that can have a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentConfig {
    /// Its name.
    pub name: ConfigName,
    /// How many hosts must stay healthy.
    pub minimum: Minimum,
    /// At most so many turns at a time.
    pub turns_max: Option<u32>,
    /// Some hosts first.
    pub canary: Option<Canary>,
    /// One zone at a time.
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

    /// Checks what must hold whatever the group.
    /// # Errors
    /// The first limit that is broken.
    pub fn validate(&self) -> Result<(), InvalidPolicy> {
        let mut policy = Policy::default();
        self.put_on(&mut policy);
        policy.validate()
    }
}
