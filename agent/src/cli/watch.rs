//! Follows a deployment and its rollback until they end: live on a terminal, with
//! one line per change elsewhere.
//!
//! It always shows the whole deployment, which it requests again each time; the agent's events
//! only say when to ask. So nothing is missed if events are, and the agent may stop and return
//! meanwhile.

mod changes;
mod ending;
mod frame;
mod leaving;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::bail;

use self::frame::{Frame, Live};
use super::{Exit, Session};
use crate::client::{Client, Events, Signal};
use crate::harmless::clean;
use crate::view::{DeploymentView, HistoryLine};

/// The interval of requests without an event: an agent that lost its mesh sends none.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The shortest time between two requests: the eye notices no more.
const LOOK_PAUSE: Duration = Duration::from_millis(80);
/// The same with many hosts, where each request costs the agent some milliseconds.
const LOOK_PAUSE_MANY: Duration = Duration::from_millis(500);
const MANY_HOSTS: u32 = 500;
/// Time for which an unreachable agent is retried: longer than its restart.
const LOST_MAX: Duration = Duration::from_secs(15);
const RETRY_EVERY: Duration = Duration::from_millis(250);
/// The number of recent history lines on a terminal.
const HISTORY_MAX: usize = 5;

/// The time that a user is willing to wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    until: Option<Instant>,
    timeout: Option<Duration>,
}

impl Patience {
    pub(crate) fn of(timeout: Option<Duration>) -> Self {
        Patience { until: timeout.map(|timeout| Instant::now() + timeout), timeout }
    }

    fn is_over(&self) -> bool {
        self.until.is_some_and(|until| until <= Instant::now())
    }

    fn left(&self) -> Duration {
        self.until.map_or(LOOK_EVERY, |until| until.saturating_duration_since(Instant::now()))
    }
}

/// Follows the deployment, and a rollback of it, until all is over.
pub(crate) async fn follow(
    session: &Session,
    first: DeploymentView,
    patience: Patience,
) -> anyhow::Result<Exit> {
    let told_to_leave = leaving::told();
    let mut watch = Watch::new(session, first, patience);
    let exit = tokio::select! {
        biased;
        exit = told_to_leave => watch.leave(exit),
        exit = watch.run() => exit?,
    };
    watch.live.finish();
    if session.screen.is_json() {
        session.answer(&watch.asked_for(), String::new)?;
    }
    Ok(exit)
}

struct Watch<'a> {
    session: &'a Session,
    events: Events,
    patience: Patience,
    /// The deployment that is followed now, as last seen.
    shown: DeploymentView,
    /// The deployments that were followed before it.
    over: Vec<DeploymentView>,
    history: VecDeque<HistoryLine>,
    live: Live,
    since: Instant,
    /// The banner that was printed already, where nothing is redrawn.
    banner: Option<String>,
}

impl<'a> Watch<'a> {
    fn new(session: &'a Session, first: DeploymentView, patience: Patience) -> Self {
        let events = Events::listen(session.client.clone(), "/v1/events".into());
        let watch = Watch {
            session,
            events,
            patience,
            shown: first,
            over: Vec::new(),
            history: VecDeque::new(),
            live: Live::new(&session.screen),
            since: Instant::now(),
            banner: None,
        };
        watch.introduce();
        watch
    }

    fn introduce(&self) {
        if !self.session.screen.is_live() {
            let lines = changes::opening(&self.shown);
            lines.iter().for_each(|line| self.session.screen.progress(&clean(line)));
        }
    }

    async fn run(&mut self) -> anyhow::Result<Exit> {
        loop {
            self.look().await?;
            self.draw();
            if self.shown.is_over() && !self.shown.rollback_due {
                match self.shown.rolled_back_by.clone() {
                    Some(rollback) => self.go_on_with(&rollback).await?,
                    None => return Ok(self.end()),
                }
            }
            if self.patience.is_over() {
                return Ok(self.give_up());
            }
            self.wait().await;
        }
    }

    /// Waits until there may be something new, and at least for the pause between requests.
    async fn wait(&mut self) {
        let many = self.shown.healthy.total > MANY_HOSTS;
        tokio::time::sleep(if many { LOOK_PAUSE_MANY } else { LOOK_PAUSE }).await;
        let until = tokio::time::Instant::now() + LOOK_EVERY.min(self.patience.left());
        loop {
            // Wait for the first event only; all that have arrived by now lead to one request.
            tokio::select! {
                biased;
                signal = self.events.next() => if self.hear(signal) { break },
                () = tokio::time::sleep_until(until) => return,
            }
        }
        while let Ok(signal) = tokio::time::timeout(Duration::ZERO, self.events.next()).await {
            self.hear(signal);
        }
    }

    /// Returns true if the signal is a reason to look again.
    fn hear(&mut self, signal: Signal) -> bool {
        match signal {
            Signal::Missed => true,
            Signal::Happened(line) => {
                let is_ours = line.deployment.as_deref() == Some(self.shown.id.as_str());
                let is_of_hosts = line.deployment.is_none() && line.host.is_some();
                if is_ours || is_of_hosts {
                    self.history.push_back(line);
                    self.history.drain(..self.history.len().saturating_sub(HISTORY_MAX));
                }
                is_ours || is_of_hosts
            }
        }
    }

    async fn look(&mut self) -> anyhow::Result<()> {
        let path = format!("/v1/deployments/{}", self.shown.id);
        let fresh: DeploymentView = self.ask(&path).await?;
        let banner = self.session.client.freshness().banner();
        if !self.session.screen.is_live() {
            if let Some(banner) = banner.as_ref().filter(|_| self.banner.is_none()) {
                self.session.screen.progress(banner);
            }
            self.banner = banner;
            let lines = changes::between(&self.shown, &fresh);
            lines.iter().for_each(|line| self.session.screen.progress(&clean(line)));
        }
        self.shown = fresh;
        Ok(())
    }

    /// Asks the agent; if it is unreachable, retries for a while.
    async fn ask(&mut self, path: &str) -> anyhow::Result<DeploymentView> {
        let lost_at = Instant::now();
        let mut is_said = false;
        loop {
            let error = match self.session.client.get(path).await {
                Ok(view) => return Ok(view),
                Err(error) if error.is_unreachable() => error,
                Err(error) => return Err(error.into()),
            };
            if !is_said {
                is_said = true;
                self.say_lost();
            }
            if lost_at.elapsed() > LOST_MAX || self.patience.is_over() {
                self.live.finish();
                bail!("{}", lost(&self.session.client, &self.shown, &error.to_string()));
            }
            tokio::time::sleep(RETRY_EVERY).await;
        }
    }

    fn say_lost(&mut self) {
        let line = format!(
            "the agent at {} went away; deployment {} goes on without it; trying again …",
            self.session.client.socket().display(),
            self.shown.id
        );
        if self.session.screen.is_live() {
            self.live.note(&line);
        } else {
            self.session.screen.note(&line);
        }
    }

    fn draw(&mut self) {
        if self.session.screen.is_live() {
            let frame = Frame {
                deployment: &self.shown,
                history: &self.history,
                elapsed: self.since.elapsed(),
                banner: self.session.client.freshness().banner(),
            };
            self.live.draw(&frame);
        }
    }

    /// Prints the end of the deployment, which was rolled back, and continues with its rollback.
    async fn go_on_with(&mut self, rollback: &str) -> anyhow::Result<()> {
        self.live.keep();
        self.tell(&ending::of(&self.shown));
        let next = self.ask(&format!("/v1/deployments/{rollback}")).await?;
        self.over.push(std::mem::replace(&mut self.shown, next));
        self.history.clear();
        self.since = Instant::now();
        self.introduce();
        Ok(())
    }

    /// Returns the deployment that the user asked for, with the current status of
    /// its rollback, which had only begun when the deployment was last seen.
    fn asked_for(&self) -> DeploymentView {
        let Some(first) = self.over.first() else { return self.shown.clone() };
        let rollback = self.over.get(1).unwrap_or(&self.shown);
        DeploymentView { rollback_status: Some(rollback.status.clone()), ..first.clone() }
    }

    fn end(&mut self) -> Exit {
        self.live.keep();
        self.tell(&ending::of(&self.shown));
        ending::exit(self.over.first(), &self.shown)
    }

    fn give_up(&mut self) -> Exit {
        self.live.keep();
        let waited = humantime::format_duration(self.patience.timeout.unwrap_or_default());
        self.session.screen.note(&format!(
            "not over after {waited}: deployment {} goes on; look with `skein status {} --watch`",
            self.shown.id, self.shown.id
        ));
        Exit::TimedOut
    }

    fn leave(&mut self, exit: Exit) -> Exit {
        self.live.keep();
        self.session.screen.note(&leaving::words(&self.shown));
        exit
    }

    fn tell(&self, lines: &[String]) {
        if !self.session.screen.is_json() {
            lines.iter().for_each(|line| self.session.screen.text(&format!("{}\n", clean(line))));
        }
    }
}

fn lost(client: &Client, shown: &DeploymentView, cause: &str) -> String {
    format!(
        "lost the agent at {} while watching deployment {} ({}, {} of {} hosts done when last seen). The \
         deployment goes on without this agent: look with `skein status {}` on any other host of the mesh. ({cause})",
        client.socket().display(),
        shown.id,
        shown.status,
        shown.counts.succeeded,
        shown.healthy.total,
        shown.id,
    )
}

#[cfg(test)]
pub(super) mod tests;
