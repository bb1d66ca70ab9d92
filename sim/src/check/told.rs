//! Once all is quiet, every receiver has heard of every happening at least
//! once, or the ledger records that it was given up.

use super::{Claim, Verdict, Violation};
use crate::model::Model;
use crate::watches::Outside;

pub fn all_told(model: &Model, outside: &Outside) -> Verdict {
    for (name, group) in model.groups() {
        for (trigger, to_tell) in &group.watches.to_tell {
            let is_missing = |(event, deployment, host): &&(_, _, _)| {
                !outside.was_told(name, trigger, &(*event, *deployment, *host))
                    && !group.watches.given_up.contains(&(trigger.clone(), *event, *deployment))
            };
            if let Some((event, deployment, host)) = to_tell.iter().find(is_missing) {
                let what =
                    format!("trigger {trigger} of {name} never told {event:?} of {deployment} {host:?}");
                return Err(Violation::new(Claim::Told, Vec::new(), what));
            }
        }
    }
    Ok(())
}
