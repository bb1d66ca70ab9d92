//! A ledger after which each part of the folded state holds something.

use std::time::Duration;

use super::samples::{
    at, config, deployment, failure, given_up, group, host, record, signed_recovery, submission,
};
use crate::alarm::AlarmState;
use crate::entry::{Body, Entry, Failure, HostRecord, ProposalId, Submission, TurnOutcome};
use crate::group::{Group, Tag, TagFilter, TagSets};
use crate::id::{DeploymentId, GroupName, HostId};
use crate::lifecycle::LifecycleEvent;
use crate::policy::{Minimum, Policy, RollbackOn};
use crate::rollout::Stage;
use crate::state::State;
use crate::statement::Statement;

struct History {
    state: State,
    millis: u64,
    /// States on the way.
    kept: Vec<State>,
}

fn name(group: &str) -> GroupName {
    group.parse().expect("a name")
}

impl History {
    fn say(&mut self, statement: impl Into<Statement>) {
        let statement = statement.into();
        self.millis += 1_000;
        let host = statement.author().unwrap_or(host(0));
        let index = self.state.index() + 1;
        let entry = Entry {
            at: at(self.millis),
            proposal: ProposalId { host, incarnation: 1, number: index },
            statement,
        };
        assert_eq!(self.state.apply(index, &entry), Ok(()), "{entry:?}");
    }

    /// Enters what the ledger lacks.
    fn say_due(&mut self) {
        while let Some(finding) = self.state.due().into_iter().next() {
            self.say(finding);
        }
    }

    /// Returns a host of the deployment that has a lease.
    fn leased(&self, deployment: DeploymentId) -> Option<HostId> {
        let members = self.state.rollout(deployment)?.members();
        let is_leased = |stage: &Stage| matches!(stage, Stage::Leased { .. });
        members.iter().find(|(_, member)| is_leased(&member.stage)).map(|(host, _)| *host)
    }

    fn start(&mut self, deployment: DeploymentId) -> HostId {
        let host = self.leased(deployment).expect("a lease");
        self.say(Body::TurnStarted { deployment, host });
        host
    }

    fn end(&mut self, deployment: DeploymentId, host: HostId, outcome: TurnOutcome) {
        self.say(Body::TurnEnded { deployment, host, outcome });
    }

    /// Lets all hosts take their turns with this outcome, and concludes the deployment.
    fn go_through(&mut self, deployment: DeploymentId, outcome: &TurnOutcome) {
        while self.leased(deployment).is_some() {
            let host = self.start(deployment);
            self.end(deployment, host, outcome.clone());
        }
        self.say_due();
    }

    fn submit(&mut self, number: u8, group: &str, policy: &Policy) -> DeploymentId {
        let (group, policy) = (name(group), policy.clone());
        self.say(Body::Submitted(Box::new(Submission { group, policy, ..submission(number) })));
        deployment(number)
    }
}

fn set_group(group: &str, tag: &str, policy: &Policy) -> Body {
    let tags = TagSets(vec![vec![TagFilter::parse(tag).expect("a filter")]]);
    Body::GroupSet(Group::new(name(group), tags, policy.clone()))
}

/// Hosts 0 to 5 are in web/prod, which goes by canary and zones and watches everything, and
/// 0 to 3 in api/prod, too.
fn join_all(history: &mut History) {
    for number in 0..6 {
        let mut record = record(number);
        if number < 4 {
            record.tags.insert(Tag::parse("role=api").expect("a tag"));
        }
        history.say(Body::HostJoined(record));
    }
}

/// A release, a release that fails after an interrupted turn, its rollback under way, and a
/// host that is behind.
fn release_the_api(history: &mut History) {
    let rollback = RollbackOn { failure: true, alarm: true, stop: false };
    let policy = Policy { minimum: Minimum::HalfAtATime, rollback, attempts: 2, ..Policy::default() };
    history.say(set_group("api/prod", "role=api", &policy));
    let first = history.submit(1, "api/prod", &policy);
    history.go_through(first, &TurnOutcome::Succeeded);
    let bad = history.submit(2, "api/prod", &policy);
    let (a, b) = (history.start(bad), history.start(bad));
    history.say(Body::TurnBegunAnew {
        deployment: bad,
        host: a,
        event: LifecycleEvent::AfterInstall,
        attempt: 2,
    });
    let unknown = Failure { event: None, ..failure() };
    history.end(bad, a, TurnOutcome::Failed(failure()));
    history.end(bad, b, TurnOutcome::Failed(unknown));
    while history.leased(bad).is_some() {
        let host = history.start(bad);
        history.end(bad, host, TurnOutcome::Failed(failure()));
    }
    history.say(Body::Finished { deployment: bad });
    history.kept.push(history.state.clone());
    history.say_due();
    let undoing = history.state.groups()[&name("api/prod")].running.expect("a rollback");
    let host = history.start(undoing);
    let event = LifecycleEvent::Install;
    history.say(Body::TurnBegunAnew { deployment: undoing, host, event, attempt: 2 });
    let late = HostRecord { tags: [Tag::parse("role=api").expect("a tag")].into(), ..record(6) };
    history.say(Body::HostJoined(late));
}

/// A canary that was updated and is unwell, in its bake.
fn release_the_web(history: &mut History) {
    history.say(Body::ConfigSet(config()));
    history.say(Body::GroupSet(Group { config: None, ..group() }));
    let web = history.submit(3, "web/prod", &group().policy);
    for alarm in ["command", "prometheus"] {
        let (group, alarm, detail) = (name("web/prod"), alarm.to_string(), "0".to_string());
        history.say(Body::AlarmRead { group, deployment: web, alarm, state: AlarmState::Ok, detail });
    }
    let canary = history.start(web);
    history.end(web, canary, TurnOutcome::Succeeded);
    for (healthy, error) in [(false, "status 503"), (true, "")] {
        let (group, as_of, error) = (name("web/prod"), history.state.index(), error.to_string());
        history.say(Body::HealthChanged { group, host: canary, healthy, error, as_of });
        history.kept.push(history.state.clone());
    }
    history.millis += 120_000;
    history.say(Body::Tick);
    let host = history.leased(web).expect("a lease after the bake");
    history.say(Body::TurnDeferred { deployment: web, host, suspects: vec![super::samples::host(5)] });
    let (group, as_of, error) = (name("web/prod"), history.state.index(), "status 503".to_string());
    history.say(Body::HealthChanged { group, host: canary, healthy: false, error, as_of });
    let (group, trigger) = (name("web/prod"), "chat".to_string());
    history.say(Body::TriggersDelivered { group, trigger, up_to: 1, given_up: vec![given_up()] });
}

/// A deployment that is stopped by a person, one that an alarm stops, one that waits, and a
/// freeze.
fn stop_and_freeze(history: &mut History) {
    let forget_down_after = Some(Duration::from_secs(3_600));
    let policy = Policy { forget_down_after, ..Policy::default() };
    history.say(set_group("ops/prod", "stage=prod", &policy));
    let stopped = history.submit(4, "ops/prod", &policy);
    let by = "ops".to_string();
    history.say(Body::StopRequested { deployment: stopped, rollback: false, now: true, by });
    history.say_due();
    let alarmed = Group { health: None, ..group() };
    history.say(Body::GroupSet(Group { name: name("ops/alarmed"), config: None, ..alarmed }));
    let running = history.submit(5, "ops/alarmed", &policy);
    history.submit(6, "ops/alarmed", &policy);
    let (group, alarm) = (name("ops/alarmed"), "command".to_string());
    let (state, detail) = (AlarmState::Active, "too slow".to_string());
    history.say(Body::AlarmRead { group, deployment: running, alarm, state, detail });
    let (until, reason, by) = (at(history.millis + 90_000_000), "holidays".into(), "ops".into());
    history.say(Body::Frozen { group: name("ops/prod"), until, reason, by });
}

/// Hosts that are Down, removed, and played by two agents, and a recovery.
fn lose_hosts(history: &mut History) {
    history.say(Body::HostDown { host: host(5), incarnation: 1 });
    history.say(Body::HostJoined(record(7)));
    history.say(Body::HostLeft { host: host(7) });
    for (incarnation, start) in [(2, 1), (2, 2), (2, 1)] {
        history.say(Body::HostJoined(HostRecord { incarnation, start, ..record(4) }));
    }
    let is_started = |stage: &Stage| matches!(stage, Stage::Started { .. });
    let started = history.state.running().flat_map(|rollout| rollout.members().clone());
    let started = started.filter(|(_, member)| is_started(&member.stage)).map(|(host, _)| host).next();
    history.say(Body::HostDown { host: started.expect("a turn"), incarnation: 1 });
    let index = history.state.index() + 1;
    history.state.recover(index, &signed_recovery());
}

/// Returns states of one history, the newest last.
pub(super) fn states() -> Vec<State> {
    let mut history = History { state: State::founding(), millis: 1_000_000, kept: Vec::new() };
    join_all(&mut history);
    release_the_api(&mut history);
    release_the_web(&mut history);
    stop_and_freeze(&mut history);
    lose_hosts(&mut history);
    history.say(Body::Tick);
    history.kept.push(history.state);
    history.kept
}
