//! Wrong passwords: how many of them an account takes.
//!
//! Only failures count, and they count when they are known: any number of right passwords may be checked at the same
//! time (docs/security.md row 25). A crowd of guesses let in before the first of them was counted is not forgiven, though:
//! every failure is a debt that is paid off at the allowed rate, so the average holds over time.

use std::collections::VecDeque;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest;
use tokio::sync::OwnedMutexGuard;

use super::ledger::{Key, Ledger};
use super::{MINUTE, Network, too_many};
use crate::clock::Clock;
use crate::config;
use crate::error::Result;
use crate::metrics::Metrics;

/// How long a failure counts for an account alone.
const WINDOW: Duration = Duration::from_secs(10 * 60);

/// From so many failures within [`WINDOW`] on, strangers to an account have to wait between their tries.
const SLOWED_FROM: usize = 20;

/// The first of these waits; each further failure doubles it.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// The longest of them.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// How much longer than a wait the turn of a stranger lasts, for a client that rounds up or a person who looks away.
const PATIENCE: Duration = Duration::from_secs(2);

/// Networks of strangers that have a turn, of each account. Who comes when there are so many has none until one is over.
const MOST_WAITING: usize = 32;

/// More failures than these change nothing: 1, 2, 4, 8, and then 10 seconds.
const MOST_COUNTED: usize = SLOWED_FROM + 4;

/// What failures are counted against: an account, or a name that is nobody's and is refused just like one. A digest,
/// because people type passwords where a name belongs.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Account([u8; 32]);

impl Account {
    /// The account of this canonical name or id.
    pub fn of(name: &str) -> Self {
        let digest = digest::digest(&digest::SHA256, name.as_bytes());
        Self(digest.as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }
}

/// How an account stands before a password is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Anybody may try.
    Quiet,
    /// It is being guessed at: who is not known to it must ask [`Throttle::ask_as_stranger`].
    Attacked,
}

/// How many wrong passwords an account takes; cheap to clone.
#[derive(Clone)]
pub struct Throttle(Option<Arc<Limits>>);

struct Limits {
    clock: Clock,
    log_ins: Rate,
    confirmations: Rate,
    /// By account and client: when the debt is paid off.
    by_client: Mutex<Ledger<(Account, Network), Duration>>,
    by_account: Mutex<Ledger<Account, Guesses>>,
    /// Of passwords asked again with a live token.
    by_token: Mutex<Ledger<Account, Confirmations>>,
    metrics: Metrics,
}

impl Throttle {
    /// The throttle of the section `[rate_limit]`; none at all when that is switched off.
    pub fn new(config: &config::RateLimit, clock: Clock, metrics: Metrics) -> Self {
        let limits = || {
            Arc::new(Limits {
                clock,
                log_ins: Rate::per_minute(config.failed_log_ins),
                confirmations: Rate::per_minute(config.failed_confirmations),
                by_client: Mutex::default(),
                by_account: Mutex::default(),
                by_token: Mutex::default(),
                metrics,
            })
        };
        Self(config.enabled.then(limits))
    }

    /// Before a log-in costs a hash: may this client try a password of this account? Counts nothing.
    ///
    /// # Errors
    /// `TooManyRequests` after too many failures of this client.
    pub fn ask(&self, account: Account, client: Network) -> Result<Standing> {
        let Some(limits) = &self.0 else { return Ok(Standing::Quiet) };
        let now = limits.clock.elapsed();
        let admitted = limits.log_ins.admit(lock(&limits.by_client).get(&(account, client)), now);
        admitted.inspect_err(|_| limits.metrics.limited("failed_log_in"))?;
        let wait = lock(&limits.by_account).get(&account).and_then(|guesses| guesses.wait(now));
        Ok(if wait.is_some() { Standing::Attacked } else { Standing::Quiet })
    }

    /// For a client from whose network nobody logged in to this account lately, while it is [`Standing::Attacked`]: one
    /// try at a time, and a wait behind each.
    ///
    /// The wait begins with the try and not with its failure, or a crowd of strangers could try at every end of a wait.
    /// Networks that were refused have their turns in the order in which they came: the one that guesses is there at every
    /// end of a wait, and would let no owner in who comes from somewhere new.
    ///
    /// # Errors
    /// `TooManyRequests` while the wait lasts, and while it is the turn of another network.
    pub fn ask_as_stranger(&self, account: Account, client: Network) -> Result<()> {
        let Some(limits) = &self.0 else { return Ok(()) };
        let admitted = lock(&limits.by_account).entry(&account).admit(client, limits.clock.elapsed());
        admitted.inspect_err(|_| limits.metrics.limited("guess_of_stranger"))
    }

    /// Counts a failed log-in of this client, for whatever reason it failed.
    pub fn note_failure(&self, account: Account, client: Network) {
        self.note_failure_of_client(account, client);
        let Some(limits) = &self.0 else { return };
        lock(&limits.by_account).entry(&account).note(limits.clock.elapsed());
    }

    /// Counts a failure against this client alone: where nobody can guess, strangers need not wait for each other, and what costs
    /// no hash must not fill the places of accounts that are guessed at.
    pub fn note_failure_of_client(&self, account: Account, client: Network) {
        let Some(limits) = &self.0 else { return };
        limits.log_ins.charge(lock(&limits.by_client).entry(&(account, client)), limits.clock.elapsed());
    }

    /// Before the password of somebody with a live token costs a hash. Log-ins have nothing to do with this budget: who
    /// guesses at the door does not keep an owner from the own settings, nor the other way round.
    ///
    /// One at a time for an account: of a crowd with a stolen token each would find the budget whole, and what it
    /// overdrew would be the owner's debt. Right passwords only wait for each other.
    ///
    /// # Errors
    /// `TooManyRequests` after too many failures.
    pub async fn begin_confirmation(&self, account: Account) -> Result<Confirmation> {
        let Some(limits) = &self.0 else { return Ok(Confirmation(None)) };
        let turn = lock(&limits.by_token).entry(&account).turn.clone();
        let turn = turn.lock_owned().await;
        let paid_at = lock(&limits.by_token).entry(&account).paid_at;
        let admitted = limits.confirmations.admit(Some(&paid_at), limits.clock.elapsed());
        admitted.inspect_err(|_| limits.metrics.limited("failed_confirmation"))?;
        Ok(Confirmation(Some((limits.clone(), account, turn))))
    }

    /// Forgets debts that are paid off and failures that count no more.
    pub fn sweep(&self) {
        let Some(limits) = &self.0 else { return };
        let now = limits.clock.elapsed();
        lock(&limits.by_client).sweep(|paid_at| *paid_at <= now);
        lock(&limits.by_token).sweep(|asked| asked.paid_at <= now && Arc::strong_count(&asked.turn) == 1);
        lock(&limits.by_account).sweep(|guesses| guesses.are_over(now));
    }
}

/// Passwords of one account that were asked again.
#[derive(Default)]
struct Confirmations {
    /// When the debt is paid off.
    paid_at: Duration,
    turn: Arc<tokio::sync::Mutex<()>>,
}

/// The turn of somebody who was asked for a password again; the next one has to wait until this is dropped.
#[must_use]
pub struct Confirmation(Option<(Arc<Limits>, Account, OwnedMutexGuard<()>)>);

impl Confirmation {
    /// Counts a password that was wrong.
    pub fn fail(self) {
        let Some((limits, account, _turn)) = &self.0 else { return };
        let mut ledger = lock(&limits.by_token);
        limits.confirmations.charge(&mut ledger.entry(account).paid_at, limits.clock.elapsed());
    }
}

impl Key for Account {
    fn neighbourhood(&self) -> impl Hash {
        self.0
    }
}

impl Key for (Account, Network) {
    fn neighbourhood(&self) -> impl Hash {
        self.1.neighbourhood()
    }
}

/// So many failures a minute, all at once if need be.
#[derive(Clone, Copy)]
struct Rate {
    /// What a failure costs.
    price: Duration,
    /// Debt with which one may still try.
    credit: Duration,
}

impl Rate {
    fn per_minute(times: u32) -> Self {
        let price = MINUTE / times.max(1);
        Self { price, credit: MINUTE.saturating_sub(price) }
    }

    fn admit(self, paid_at: Option<&Duration>, now: Duration) -> Result<()> {
        let next_at = paid_at.map_or(now, |paid_at| paid_at.saturating_sub(self.credit));
        if next_at > now { Err(too_many(next_at - now)) } else { Ok(()) }
    }

    fn charge(self, paid_at: &mut Duration, now: Duration) {
        *paid_at = now.max(*paid_at) + self.price;
    }
}

/// Failures of an account, from wherever they come.
#[derive(Clone, Default)]
struct Guesses {
    /// The last [`MOST_COUNTED`], oldest first.
    failures: VecDeque<Duration>,
    /// When the next stranger may try.
    next_at: Duration,
    /// The networks of strangers who were refused, in the order of their turns.
    waiting: VecDeque<Network>,
}

impl Guesses {
    /// How long a stranger has to wait after another one; nothing while there were few failures.
    fn wait(&self, now: Duration) -> Option<Duration> {
        let count = self.failures.iter().filter(|failure| **failure + WINDOW > now).count();
        let doublings = u32::try_from(count.checked_sub(SLOWED_FROM)?).ok()?;
        Some(FIRST_WAIT.saturating_mul(2u32.saturating_pow(doublings)).min(LONGEST_WAIT))
    }

    fn admit(&mut self, client: Network, now: Duration) -> Result<()> {
        let Some(wait) = self.wait(now) else { return Ok(()) };
        let turn = wait + PATIENCE;
        // Who did not come has had the turn.
        while !self.waiting.is_empty() && self.next_at + turn <= now {
            self.waiting.pop_front();
            self.next_at += turn;
        }
        let is_turn = self.waiting.front().is_none_or(|first| *first == client);
        if self.next_at <= now && is_turn {
            self.waiting.pop_front();
            self.next_at = now + wait;
            return Ok(());
        }
        if !self.waiting.contains(&client) && self.waiting.len() < MOST_WAITING {
            self.waiting.push_back(client);
        }
        let until = if self.next_at > now { self.next_at } else { self.next_at + turn };
        Err(too_many((until - now).min(wait)))
    }

    fn note(&mut self, now: Duration) {
        if self.failures.len() == MOST_COUNTED {
            self.failures.pop_front();
        }
        self.failures.push_back(now);
        if let Some(wait) = self.wait(now) {
            self.next_at = self.next_at.max(now + wait);
        }
    }

    fn are_over(&self, now: Duration) -> bool {
        self.failures.back().is_none_or(|failure| *failure + WINDOW <= now)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};

    use super::*;
    use crate::error::Error;
    use crate::ratelimit::defaults;

    fn throttle() -> (Throttle, Clock) {
        let clock = Clock::frozen(DateTime::from_timestamp_millis(1_700_000_000_000).expect("in range"));
        (Throttle::new(&defaults(), clock.clone(), Metrics::default()), clock)
    }

    fn client(number: u16) -> Network {
        let [high, low] = number.to_be_bytes();
        Network::of([192, 0, high, low].into())
    }

    fn seconds<T>(outcome: Result<T>) -> u64 {
        match outcome {
            Err(Error::Busy { retry_after, .. }) => retry_after.as_secs(),
            _ => 0,
        }
    }

    #[test]
    fn a_crowd_that_was_let_in_together_pays_back_every_guess() {
        let (throttle, clock) = throttle();
        let ada = Account::of("ada");
        let admitted = (0..100).filter(|_| throttle.ask(ada, client(1)).is_ok()).count();
        assert_eq!(admitted, 100, "nothing is known to have failed");
        for _ in 0..100 {
            throttle.note_failure(ada, client(1));
        }
        assert_eq!(seconds(throttle.ask(ada, client(1))), 142);
        clock.advance(TimeDelta::seconds(142));
        throttle.sweep();
        assert_eq!(seconds(throttle.ask(ada, client(1))), 0);
        throttle.note_failure(ada, client(1));
        assert_eq!(seconds(throttle.ask(ada, client(1))), 2);
    }

    #[test]
    fn a_wait_is_no_longer_than_ten_seconds_however_many_fail_at_once() {
        let (throttle, clock) = throttle();
        let ada = Account::of("ada");
        for number in 0..1000 {
            throttle.note_failure(ada, client(number));
        }
        assert_eq!(throttle.ask(ada, client(2000)).ok(), Some(Standing::Attacked));
        assert_eq!(seconds(throttle.ask_as_stranger(ada, client(2000))), 10);
        clock.advance(TimeDelta::seconds(10));
        assert_eq!(seconds(throttle.ask_as_stranger(ada, client(2000))), 0);
        assert_eq!(seconds(throttle.ask_as_stranger(ada, client(2000))), 10, "one at a time");
    }

    /// Asks four times a second from each of these, for so long; whoever is let in fails.
    fn guess(throttle: &Throttle, clock: &Clock, account: Account, from: std::ops::Range<u16>, quarters: usize) {
        for _ in 0..quarters {
            for number in from.clone() {
                if throttle.ask_as_stranger(account, client(number)).is_ok() {
                    throttle.note_failure(account, client(number));
                }
            }
            clock.advance(TimeDelta::milliseconds(250));
        }
    }

    #[test]
    fn whoever_guesses_without_a_pause_keeps_no_owner_out_who_comes_from_somewhere_new() {
        let ada = Account::of("ada");
        let owner = client(5000);
        for (guessers, longest) in [(1, 30), (8, 110)] {
            let (throttle, clock) = throttle();
            for number in 0..30 {
                throttle.note_failure(ada, client(1000 + number));
            }
            guess(&throttle, &clock, ada, 0..guessers, 240);
            let began = clock.elapsed();
            // The owner types, reads, and types again: every three to seven seconds.
            let pauses = (0..).map(|number| 12 + (number * 7) % 17);
            let _ = pauses.into_iter().find(|pause| {
                guess(&throttle, &clock, ada, 0..guessers, *pause);
                throttle.ask_as_stranger(ada, owner).is_ok()
            });
            let took = (clock.elapsed() - began).as_secs();
            assert!(took <= longest, "{took} s beside {guessers}");
        }
    }

    #[test]
    fn a_turn_that_nobody_takes_is_over_soon() {
        let (throttle, clock) = throttle();
        let ada = Account::of("ada");
        for number in 0..20 {
            throttle.note_failure(ada, client(number));
        }
        for number in 0..100 {
            assert_eq!(seconds(throttle.ask_as_stranger(ada, client(number))), 1);
        }
        clock.advance(TimeDelta::seconds(1));
        assert_eq!(seconds(throttle.ask_as_stranger(ada, client(1))), 1, "another's turn");
        clock.advance(TimeDelta::seconds(3));
        assert_eq!(seconds(throttle.ask_as_stranger(ada, client(1))), 0);
        clock.advance(TimeDelta::seconds(1 + 30 * 3));
        assert_eq!(
            seconds(throttle.ask_as_stranger(ada, client(99))),
            0,
            "those without a turn are not held up for ever"
        );
    }

    #[test]
    fn what_counts_against_a_client_alone_slows_nobody_else_down() {
        let (throttle, _) = throttle();
        let wallet = Account::of("wallet");
        for number in 0..1000 {
            throttle.note_failure_of_client(wallet, client(number % 30));
        }
        assert!(throttle.ask(wallet, client(1)).is_err());
        assert_eq!(throttle.ask(wallet, client(2000)).ok(), Some(Standing::Quiet));
        assert_eq!(throttle.0.map(|limits| lock(&limits.by_account).len()), Some(0));
    }

    #[tokio::test]
    async fn what_is_over_is_forgotten_and_nothing_else() {
        let (throttle, clock) = throttle();
        let limits = throttle.0.clone().expect("it is on");
        let places = || {
            let (by_client, by_account) = (lock(&limits.by_client).len(), lock(&limits.by_account).len());
            (by_client, by_account, lock(&limits.by_token).len())
        };
        throttle.note_failure(Account::of("ada"), client(1));
        throttle.begin_confirmation(Account::of("ada")).await.expect("the first").fail();
        for (pause, expected) in [(1999, (1, 1, 1)), (1, (0, 1, 1)), (4000, (0, 1, 0)), (594_000, (0, 0, 0))] {
            clock.advance(TimeDelta::milliseconds(pause));
            throttle.sweep();
            assert_eq!(places(), expected);
        }
    }
}
