//! The two doors never disagree: what people do through either of them, in any order and on two servers, is what a simple model
//! says (`spec.rs`).

mod drive;
mod spec;

use bloq_accounts::users::{AccessLevel, State};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use tokio::runtime::Runtime;

use self::drive::Drive;
use self::spec::{Act, Door, Pause, Somebody, Typed, What, World};

/// An act, and whether who does it does so with a token that is over; the others log in again.
type Step = (Act, bool);

fn someone() -> impl Strategy<Value = usize> {
    prop_oneof![3 => Just(0), 2 => Just(1), 5 => 2..8usize]
}

fn administrator() -> impl Strategy<Value = usize> {
    prop_oneof![5 => Just(0), 3 => Just(1), 2 => 2..8usize]
}

fn door() -> impl Strategy<Value = Door> {
    prop::sample::select(vec![Door::Rest, Door::Qb2])
}

fn typed() -> impl Strategy<Value = Typed> {
    prop_oneof![3 => Just(Typed::Right), 1 => Just(Typed::Wrong)]
}

fn name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["ada", "ADA", "bob", "eve", "Root"])
}

fn level() -> impl Strategy<Value = AccessLevel> {
    prop_oneof![2 => Just(AccessLevel::Authorized), 1 => Just(AccessLevel::Admin)]
}

fn what() -> impl Strategy<Value = What> {
    prop_oneof![
        1 => name().prop_map(What::Name),
        3 => level().prop_map(What::Level),
        2 => any::<bool>().prop_map(What::ReadOnly),
        3 => prop::sample::select(vec![State::WaitingForActivation, State::Active, State::Blocked]).prop_map(What::State),
        1 => (1..4u32).prop_map(What::Failures),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    let read_only = || prop::bool::weighted(0.2);
    let pauses = vec![Pause::Minutes, Pause::Minutes, Pause::UntilMidnight, Pause::TwoDays, Pause::Week];
    prop_oneof![
        4 => (administrator(), door(), name(), level(), read_only())
            .prop_map(|(by, at, name, level, read_only)| Act::Create { by, at, name, level, read_only }),
        1 => Just(Act::SignUp),
        2 => someone().prop_map(|whom| Act::Prove { whom }),
        8 => (someone(), door(), typed()).prop_map(|(whom, at, typed)| Act::LogIn { whom, at, typed }),
        3 => any::<usize>().prop_map(|key| Act::LogInByKey { key }),
        1 => someone().prop_map(|by| Act::LogOut { by }),
        3 => (someone(), typed()).prop_map(|(whom, typed)| Act::Activate { whom, typed }),
        5 => (someone(), door(), typed()).prop_map(|(by, at, typed)| Act::ChangePassword { by, at, typed }),
        6 => (administrator(), door(), someone(), what())
            .prop_map(|(by, at, whom, what)| Act::Change { by, at, whom, what }),
        2 => (someone(), name()).prop_map(|(by, name)| Act::Rename { by, name }),
        2 => (administrator(), door(), someone()).prop_map(|(by, at, whom)| Act::Block { by, at, whom }),
        2 => (administrator(), door(), someone()).prop_map(|(by, at, whom)| Act::Reset { by, at, whom }),
        1 => someone().prop_map(|whom| Act::ResetByOperator { whom }),
        1 => (administrator(), door(), someone()).prop_map(|(by, at, whom)| Act::Delete { by, at, whom }),
        1 => (someone(), typed()).prop_map(|(by, typed)| Act::Leave { by, typed }),
        3 => (someone(), prop::option::of(someone()), level(), read_only())
            .prop_map(|(by, whom, level, read_only)| Act::CreateKey { by, whom, level, read_only }),
        1 => (someone(), any::<usize>()).prop_map(|(by, key)| Act::DeleteKey { by, key }),
        1 => administrator().prop_map(|by| Act::Invalidate { by }),
        2 => prop::sample::select(pauses).prop_map(Act::Wait),
    ]
}

/// One of the people who are like this.
fn one_of(number: usize, world: &World, is_meant: impl Fn(&Somebody) -> bool) -> Option<usize> {
    let meant: Vec<usize> = (0..world.people.len()).filter(|person| is_meant(&world.people[*person])).collect();
    meant.get(number.checked_rem(meant.len())?).copied()
}

/// The act with numbers of people and keys that there are; `None` where there is nothing to do it to.
fn among(mut act: Act, world: &World) -> Option<Act> {
    let (people, keys) = (world.people.len(), world.keys.len());
    match &mut act {
        Act::Create { by, .. }
        | Act::LogOut { by }
        | Act::ChangePassword { by, .. }
        | Act::Rename { by, .. }
        | Act::Leave { by, .. }
        | Act::Invalidate { by } => *by %= people,
        Act::Prove { whom } => *whom = one_of(*whom, world, Somebody::is_unproved)?,
        Act::Activate { whom, .. } => {
            let waits = |person: &Somebody| person.state() == State::WaitingForActivation;
            *whom = one_of(*whom, world, waits).unwrap_or(*whom % people);
        }
        Act::LogIn { whom, .. } | Act::ResetByOperator { whom } => *whom %= people,
        Act::Change { by, whom, .. }
        | Act::Block { by, whom, .. }
        | Act::Reset { by, whom, .. }
        | Act::Delete { by, whom, .. } => (*by, *whom) = (*by % people, *whom % people),
        Act::CreateKey { by, whom, .. } => (*by, *whom) = (*by % people, whom.map(|whom| whom % people)),
        Act::LogInByKey { .. } | Act::DeleteKey { .. } if keys == 0 => return None,
        Act::LogInByKey { key } => *key %= keys,
        Act::DeleteKey { by, key } => (*by, *key) = (*by % people, *key % keys),
        Act::SignUp | Act::Wait(_) => {}
    }
    Some(act)
}

async fn live_through(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut drive = Drive::start().await;
    for (act, is_stubborn) in steps {
        let Some(act) = among(act, &drive.world) else { continue };
        if let Some((whom, at)) = act.actor().filter(|_| !is_stubborn) {
            let is_good = drive.world.newest(whom, at).is_some_and(|token| drive.world.judge(token).is_ok());
            if !is_good {
                drive.step(Act::LogIn { whom, at, typed: Typed::Right }).await?;
            }
        }
        drive.step(act).await?;
    }
    // In the end everybody tries everything.
    for whom in 0..drive.world.people.len() {
        for at in [Door::Rest, Door::Qb2] {
            drive.step(Act::LogIn { whom, at, typed: Typed::Right }).await?;
        }
    }
    for key in 0..drive.world.keys.len() {
        drive.step(Act::LogInByKey { key }).await?;
    }
    drive.stop().await;
    Ok(())
}

#[test]
fn both_doors_say_what_the_model_says_whatever_people_do() {
    let runtime = Runtime::new().expect("a runtime");
    let steps = prop::collection::vec((act(), prop::bool::weighted(0.1)), 0..=60);
    let config = Config {
        cases: 20,
        failure_persistence: None,
        max_shrink_iters: 200,
        rng_seed: RngSeed::Fixed(1843),
        ..Config::default()
    };
    TestRunner::new(config).run(&steps, |steps| runtime.block_on(live_through(steps))).expect("the doors agree");
}
