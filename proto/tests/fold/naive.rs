//! The rule once more, as short as it can be said: AWS user guide,
//! "instances-health", for one group without anything else.
//!
//! Nothing is kept but the list of hosts; every question goes through all of it.

/// One host, by its place in the order of names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Host {
    pub(crate) healthy: bool,
    pub(crate) down: bool,
    /// Whether anything is known to run on it.
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
    /// M.
    pub(crate) minimum: usize,
    /// Turns at a time, whatever H − M says.
    pub(crate) cap: usize,
    /// Whether it succeeds, once that is known.
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
        // In these tests nobody whose turn is now has begun. Who got it because he
        // was Down keeps it only if he can be spared.
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

    /// Who has not begun goes on serving while too few others do: the last of
    /// those who were to go. (Here nobody has begun who has its turn now.)
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
            // H at its best: every unhealthy host with a turn heals in it.
            let best = self.count(|host| host.healthy || to_come(host) || now(host));
            // Who is Down takes nothing out of service by going.
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

    /// Unhealthy first, then unknown, then old, and Down last; by name among equals.
    /// Where nobody may go and nobody is in a turn, Down is better than nothing.
    fn next(&self) -> Option<usize> {
        let first = |at: &usize| (self.hosts[*at].down, self.hosts[*at].healthy, self.hosts[*at].known, *at);
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
        // In these tests a host starts and ends in one step, so who has its turn
        // now has not begun: what it holds is taken back.
        let is_unused = |host: &&mut Host| matches!(host.turn, Turn::ToCome | Turn::Now);
        self.hosts.iter_mut().filter(is_unused).for_each(|host| host.turn = Turn::Never);
    }
}
