//! The requests that people send to the mesh, and how they repeat them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proto::group::Group;
use proto::id::{DeploymentId, Digest, GroupName};
use proto::io::{Accepted, DeployRequest, Input, Refusal, Reply, Request, RequestId, Until};
use proto::policy::{DeploymentConfig, Policy};
use proto::statement::Intent;

use super::{Claim, Event, World};
use crate::clock::Moment;
use crate::host::HostNo;

/// A person makes a request at this host. If the host is down, the person goes
/// to the next one.
#[derive(Clone, Debug)]
pub struct Asked {
    pub at: HostNo,
    pub wish: Wish,
    /// True if the person asks again when the mesh could not answer.
    pub insists: bool,
}

#[derive(Clone, Debug)]
pub enum Wish {
    SetGroup(Group),
    DeleteGroup(GroupName),
    SetConfig(DeploymentConfig),
    Deploy {
        group: GroupName,
        digest: Digest,
        policy: Option<Policy>,
        queue: bool,
    },
    /// Stops the deployment that runs or waits in the group.
    Stop {
        group: GroupName,
        rollback: bool,
        /// True if it also stops the events that are under way.
        now: bool,
    },
    Rollback {
        group: GroupName,
        to: Option<Digest>,
    },
    /// Restarts the last good revision of the group.
    Restart {
        group: GroupName,
        policy: Policy,
    },
    RemoveHost(HostNo),
    SetAlarm {
        group: GroupName,
        alarm: String,
        active: bool,
    },
    Freeze {
        group: GroupName,
        lasts: Duration,
    },
    Unfreeze {
        group: GroupName,
    },
    /// Recovers the mesh from the host that is asked, without the voters that it does
    /// not hear.
    Recover,
    /// Removes a host from the mesh, even in the middle of a turn, unless that
    /// would leave fewer than half of all hosts. Once the removal is acknowledged,
    /// a person may switch the host off for good.
    TakeOut(HostNo),
}

#[derive(Debug)]
struct Open {
    asked: Asked,
    request: Request,
    tries: u32,
    host: HostNo,
    since: Moment,
}

#[derive(Debug, Default)]
pub(super) struct Requests {
    last: u64,
    open: BTreeMap<RequestId, Open>,
    replies: Vec<(Moment, HostNo, Reply)>,
    submitters: BTreeMap<DeploymentId, HostNo>,
    /// The hosts whose removal was requested.
    taken_out: BTreeSet<HostNo>,
}

/// The time that a person waits before asking again.
const PATIENCE: Duration = Duration::from_secs(2);

/// The number of times a person asks. Together the tries last longer than any fault.
const TRIES_MAX: u32 = 100;

/// The time within which a node must answer, even if only to say that it
/// failed.
const ANSWER_WITHIN: Duration = Duration::from_secs(180);

impl Requests {
    pub(super) fn taken_out(&self) -> &BTreeSet<HostNo> {
        &self.taken_out
    }
}

impl World {
    pub(super) fn ask(&mut self, asked: Asked, tries: u32) {
        let count = self.hosts.len();
        let up = (0..count).map(|after| &self.hosts[(asked.at.index() + after) % count]).find(|h| h.is_up());
        let Some(host) = up.map(|host| host.no) else { return self.ask_again(asked, tries) };
        let Some(request) = self.request(&asked.wish, host) else { return };
        self.requests.last += 1;
        let id = RequestId(self.requests.last);
        self.story.asked(self.now, host, &request);
        let open = Open { asked, request: request.clone(), tries, host, since: self.now };
        self.requests.open.insert(id, open);
        self.feed(host, Input::Request { id, request: Box::new(request) });
    }

    /// Returns None if there is nothing to request.
    fn request(&mut self, wish: &Wish, host: HostNo) -> Option<Request> {
        let request = match wish {
            Wish::SetGroup(group) => Request::Intent(Intent::SetGroup(group.clone())),
            Wish::SetConfig(config) => Request::Intent(Intent::SetConfig(config.clone())),
            Wish::DeleteGroup(group) => Request::Intent(Intent::DeleteGroup(group.clone())),
            Wish::Deploy { group, digest, policy, queue } => {
                let bundle = &self.bundles[digest];
                self.holders.entry(*digest).or_default().insert(host);
                Request::Deploy(Box::new(DeployRequest {
                    group: group.clone(),
                    revision: bundle.revision.clone(),
                    policy: policy.clone(),
                    description: format!("deploy {}", bundle.name),
                    holders: vec![self.hosts[host.index()].id],
                    queue: *queue,
                    by: String::new(),
                }))
            }
            Wish::Stop { group, rollback, now } => {
                let state = self.hosts[host.index()].node()?.state();
                let group = state.group(group)?;
                let deployment = group.running.or(group.queued)?;
                Request::Intent(Intent::Stop {
                    deployment,
                    rollback: *rollback,
                    now: *now,
                    by: String::new(),
                })
            }
            Wish::Rollback { group, to } => {
                Request::Rollback { group: group.clone(), to: *to, policy: None, by: String::new() }
            }
            Wish::Restart { group, policy } => {
                let state = self.hosts[host.index()].node()?.state();
                let good = state.group(group)?.good.last()?;
                Request::Deploy(Box::new(DeployRequest {
                    group: group.clone(),
                    revision: good.revision.clone(),
                    policy: Some(policy.clone()),
                    description: "restart".into(),
                    holders: Vec::new(),
                    queue: false,
                    by: String::new(),
                }))
            }
            Wish::Recover => {
                let node = self.hosts[host.index()].node()?;
                let offer = match node.recovery_offer("a person") {
                    Ok(offer) => offer,
                    Err(refusal) => {
                        self.story.replied(self.now, host, &Err(refusal));
                        return None;
                    }
                };
                let signed = self.recovery_key.sign(offer.recovery);
                self.checks.recoveries.asked(host, &signed, self.hosts[host.index()].disk.synced());
                Request::Recover(Box::new(signed))
            }
            Wish::RemoveHost(host) => Request::Intent(Intent::RemoveHost(self.hosts[host.index()].id)),
            Wish::SetAlarm { group, alarm, active } => {
                let (alarm, reason) = (alarm.clone(), "a person says so".into());
                Request::Intent(Intent::SetAlarm { group: group.clone(), alarm, active: *active, reason })
            }
            Wish::Freeze { group, lasts } => {
                let (reason, by) = ("a holiday".into(), "a person".into());
                Request::Freeze { group: group.clone(), until: Until::For(*lasts), reason, by }
            }
            Wish::Unfreeze { group } => Request::Intent(Intent::Unfreeze(group.clone())),
            Wish::TakeOut(host) => {
                let mut taken_out = self.requests.taken_out.clone();
                taken_out.insert(*host);
                if taken_out.len() * 2 > self.hosts.len() {
                    return None;
                }
                self.requests.taken_out = taken_out;
                Request::Intent(Intent::RemoveHost(self.hosts[host.index()].id))
            }
        };
        Some(request)
    }

    fn ask_again(&mut self, asked: Asked, tries: u32) {
        if asked.insists && tries < TRIES_MAX {
            let jitter = self.chance.requests.duration(Duration::ZERO, PATIENCE);
            self.queue
                .push(self.now + PATIENCE + jitter, Event::Wish { asked: Box::new(asked), tries: tries + 1 });
        }
    }

    pub(super) fn replied(&mut self, host: HostNo, id: RequestId, reply: Reply) {
        let now = self.now;
        let Some(open) = self.requests.open.remove(&id) else {
            return self.violated(Claim::Answered, host, format!("it answers {id:?}, which is not open"));
        };
        if let Some(running) = &self.hosts[host.index()].node {
            self.checks.replied(host, &open.request, &reply, &running.0, now);
            if let (Request::Intent(Intent::RemoveHost(_)), Ok(_)) = (&open.request, &reply) {
                let verdict = self.checks.promises.removal_told(host, &running.0, &self.hosts);
                self.checks.report(verdict, now);
            }
        }
        if let Ok(Accepted::Deployment(deployment)) = &reply {
            self.requests.submitters.insert(*deployment, host);
        }
        self.story.replied(now, host, &reply);
        let may_come_true = matches!(
            reply,
            Err(Refusal::NotJoined(_)
                | Refusal::NotCommitted { .. }
                | Refusal::FoldedUnseen
                | Refusal::Leaving
                | Refusal::StillVotes { .. })
        );
        let is_out = matches!(reply, Err(Refusal::Removed { .. }));
        if reply.is_ok()
            && let Wish::TakeOut(host) = open.asked.wish
        {
            self.may_switch_off(host);
        }
        // Groups are requested right at the start, when perhaps no host has
        // joined yet.
        let is_too_early = matches!(reply, Err(Refusal::UnknownGroup(_) | Refusal::NoHosts(_)));
        self.requests.replies.push((now, host, reply));
        if is_out {
            // This host was removed from the mesh: the person asks another one.
            let next = HostNo::from_index((host.index() + 1) % self.hosts.len());
            self.ask_again(Asked { at: next, ..open.asked }, open.tries);
        } else if may_come_true || is_too_early {
            self.ask_again(open.asked, open.tries);
        }
    }

    /// Switches off a removed host in some runs, as an operator may once the
    /// removal is acknowledged.
    fn may_switch_off(&mut self, host: HostNo) {
        if self.chance.removals.percent(50) {
            let after = self.chance.removals.duration(Duration::ZERO, Duration::from_secs(3));
            self.queue.push(self.now + after, Event::Off { host });
        }
    }

    /// Repeats the requests that waited at a host that went down.
    pub(super) fn forget_requests_of(&mut self, host: HostNo) {
        let open = std::mem::take(&mut self.requests.open);
        let (gone, kept): (BTreeMap<_, _>, BTreeMap<_, _>) =
            open.into_iter().partition(|(_, open)| open.host == host);
        self.requests.open = kept;
        for open in gone.into_values() {
            self.ask_again(open.asked, open.tries);
        }
    }

    /// Reports a violation if a request has waited too long for an answer.
    pub fn check_answers(&mut self) {
        let now = self.now;
        let late = self.requests.open.values().find(|open| now - open.since > ANSWER_WITHIN);
        if let Some(open) = late {
            let what = format!("{:?}, asked at {}, has no answer", open.request, open.since);
            self.violated(Claim::Answered, open.host, what);
        }
    }

    pub fn last_reply(&self) -> Option<&Reply> {
        self.requests.replies.last().map(|(_, _, reply)| reply)
    }

    pub fn replies(&self) -> usize {
        self.requests.replies.len()
    }

    /// Returns the number of requests that have no answer yet or will be repeated.
    pub fn open_requests(&self) -> usize {
        let to_be_told = self.queue.iter().filter(|event| matches!(event, Event::Wish { .. })).count();
        self.requests.open.len() + to_be_told
    }

    /// Returns the host at which the deployment was submitted.
    pub fn submitter(&self, deployment: DeploymentId) -> Option<HostNo> {
        self.requests.submitters.get(&deployment).copied()
    }
}
