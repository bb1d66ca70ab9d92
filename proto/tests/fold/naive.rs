//! The rule once more, in its shortest form: AWS user guide, "instances-health",
//! for one group and nothing else.
//!
//! It keeps only the list of hosts, and goes through all of it for every question.

/// One host; its place is that in the order of names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Host {
    pub(crate) healthy: bool,
    pub(crate) down: bool,
    /// True if it is known what runs on the host.
    pub(crate) known: bool,
    pub(crate) turn: Turn,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    ToCome,
    Now,
    Over(bool),
    Never,
}

pub(crate) struct Naive {
    pub(crate) hosts: Vec<Host>,
    /// M: the number of hosts that must stay healthy.
    pub(crate) minimum: usize,
    /// The most turns at a time, whatever H − M (healthy hosts less the minimum)
    /// would allow.
    pub(crate) cap: usize,
    /// True if the deployment succeeds; `None` while that is open.
    pub(crate) ends: Option<bool>,
}

impl Naive {
    fn count(&self, is_it: impl Fn(&Host) -> bool) -> usize {
        self.hosts.iter().filter(|host| is_it(host)).count()
    }

    pub(crate) fn in_turn(&self) -> Vec<usize> {
        (0..self.hosts.len()).filter(|at| self.hosts[*at].turn == Turn::Now).collect()
    }

    pub(crate) fn in_service(&self) -> usize {
        self.count(|host| host.healthy && !host.down && host.turn != Turn::Now)
    }

    pub(crate) fn end(&mut self, at: usize, succeeds: bool) {
        self.hosts[at].turn = Turn::Over(succeeds);
        self.hosts[at].healthy = succeeds;
        self.go_on();
    }

    pub(crate) fn set_down(&mut self, at: usize, down: bool) {
        self.hosts[at].down = down;
        // In these tests no host whose turn is now has started. A host that got its
        // turn because it was Down keeps it only if it can be spared.
        let host = self.hosts[at];
        if down && host.turn == Turn::Now {
            self.hosts[at].turn = Turn::ToCome;
        }
        if !down && host.turn == Turn::Now && host.healthy && self.in_service() < self.minimum {
            self.hosts[at].turn = Turn::ToCome;
        }
        self.take_back();
        self.go_on();
    }

    /// Takes turns back while too few hosts are in service, the last in line first:
    /// a host that has not started continues to serve. (Here no host has started
    /// whose turn it is now.)
    fn take_back(&mut self) {
        while self.ends.is_none() && self.in_service() < self.minimum {
            let serves = |at: &usize| self.hosts[*at].healthy && !self.hosts[*at].down;
            let in_order = |at: &usize| (self.hosts[*at].known, *at);
            let Some(last) = self.in_turn().into_iter().filter(serves).max_by_key(in_order) else { return };
            self.hosts[last].turn = Turn::ToCome;
        }
    }

    /// Gives every turn that may be given.
    pub(crate) fn go_on(&mut self) {
        while self.ends.is_none() {
            let to_come = |host: &Host| host.turn == Turn::ToCome;
            let now = |host: &Host| host.turn == Turn::Now;
            // H is at its best if every unhealthy host with a turn is healed by it.
            let best = self.count(|host| host.healthy || to_come(host) || now(host));
            // The turn of a Down host takes nothing out of service.
            let must_exceed = self.count(|host| host.healthy && !host.down && to_come(host)) > 0;
            let (coming, going) = (self.count(to_come), self.count(now));
            if best < self.minimum + usize::from(must_exceed) && coming + going > 0 {
                return self.conclude(false);
            }
            if coming + going == 0 {
                let is_kept = self.count(|host| host.healthy) >= self.minimum;
                return self.conclude(is_kept && self.count(|host| host.turn == Turn::Over(true)) > 0);
            }
            match self.next() {
                Some(next) => self.hosts[next].turn = Turn::Now,
                None => return,
            }
        }
    }

    /// Returns the next host: unhealthy hosts first, then unknown, then old, and
    /// Down last, whatever else is known of them; by name among equals. If no host may go and none is in a turn, a
    /// Down host may.
    fn next(&self) -> Option<usize> {
        let first = |at: &usize| {
            let Host { down, healthy, known, .. } = self.hosts[*at];
            (down, healthy && !down, known && !down, *at)
        };
        let to_come = |at: &usize| self.hosts[*at].turn == Turn::ToCome;
        let next = (0..self.hosts.len()).filter(to_come).min_by_key(first)?;
        if self.in_turn().len() >= self.cap {
            return None;
        }
        let takes_one_out = self.hosts[next].healthy && !self.hosts[next].down;
        if !takes_one_out || self.in_service() > self.minimum {
            return Some(next);
        }
        let of_no_service = |at: &usize| self.hosts[*at].down || !self.hosts[*at].healthy;
        let helps = (0..self.hosts.len()).filter(to_come).find(of_no_service);
        helps.filter(|_| self.in_turn().is_empty())
    }

    fn conclude(&mut self, succeeds: bool) {
        self.ends = Some(succeeds);
        // In these tests a host starts and ends in one step, so a host whose turn
        // is now has not started: its turn is taken back.
        let is_unused = |host: &&mut Host| matches!(host.turn, Turn::ToCome | Turn::Now);
        self.hosts.iter_mut().filter(is_unused).for_each(|host| host.turn = Turn::Never);
    }
}
