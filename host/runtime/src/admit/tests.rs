//! Caps are exact, turns are fair, and what is refused says by which line.

use futures::FutureExt;
use futures::future::BoxFuture;

use super::*;

fn admission(text: &str) -> Arc<Admission> {
    Admission::new(&toml::from_str(text).expect("valid"))
}

fn context(principal: &str) -> CallContext {
    CallContext { principal: Some(principal.to_owned()), ..CallContext::default() }
}

/// A call that is polled once: running, or in line.
struct Begun(BoxFuture<'static, Result<Permit, End>>, Option<Result<Permit, End>>);

impl Begun {
    fn look(&mut self) -> Option<&Result<Permit, End>> {
        if self.1.is_none() {
            // So many are looked at in one go that the runtime would make them wait for a yield.
            self.1 = tokio::task::unconstrained(&mut self.0).now_or_never();
        }
        self.1.as_ref()
    }

    fn runs(&mut self) -> bool {
        matches!(self.look(), Some(Ok(_)))
    }

    /// How it ends, waiting for it.
    async fn end(self) -> Option<End> {
        match self.1 {
            Some(ended) => ended.err(),
            None => self.0.await.err(),
        }
    }

    fn refused(&mut self) -> String {
        match self.look() {
            Some(Err(End::Overloaded(why))) => why.clone(),
            Some(Err(other)) => panic!("{other:?}"),
            Some(Ok(_)) => panic!("it runs"),
            None => panic!("it waits"),
        }
    }
}

#[derive(Clone, Copy)]
struct Kind<'a> {
    principal: &'a str,
    plugin: &'static str,
    calls: Option<u32>,
    places: u32,
    inner: bool,
}

const ONE: Kind<'static> =
    Kind { principal: "a", plugin: "x", calls: None, places: 1, inner: false };

fn begin_in(admission: &Arc<Admission>, context: CallContext, kind: Kind<'_>) -> Begun {
    let admission = admission.clone();
    let Kind { plugin, calls, places, inner, .. } = kind;
    let future = async move {
        let wish = Wish { context: &context, plugin, calls, places, inner };
        admission.admit(&wish).await
    };
    let mut begun = Begun(future.boxed(), None);
    begun.look();
    begun
}

fn begin(admission: &Arc<Admission>, kind: Kind<'_>) -> Begun {
    begin_in(admission, context(kind.principal), kind)
}

#[tokio::test]
async fn one_principals_flood_delays_another_by_one_turn() {
    let admission = admission("calls = 1\nper-principal = 1\nper-plugin = 1");
    let mut flood: Vec<_> = (0..200).map(|_| begin(&admission, ONE)).collect();
    let mut single = begin(&admission, Kind { principal: "b", ..ONE });
    assert!(flood[0].runs() && !flood[1].runs() && !single.runs());
    let mut ended = 0;
    while !single.runs() {
        let at = flood.iter_mut().position(Begun::runs).expect("somebody runs");
        drop(flood.remove(at));
        ended += 1;
        assert!(ended <= 2, "it waits for more than the running call and one turn");
    }
    // From then on in the order in which they came.
    drop(single);
    while !flood.is_empty() {
        assert_eq!(flood.iter_mut().filter_map(|call| call.runs().then_some(())).count(), 1);
        assert!(flood[0].runs());
        flood.remove(0);
    }
    assert!(lock(&admission.state).lines.is_empty());
}

#[tokio::test]
async fn caps_are_exact() {
    for (caps, kinds, most) in [
        ("calls = 7\nper-plugin = 9\nper-principal = 9", ["a", "b"], 7),
        ("per-plugin = 5", ["a", "b"], 5),
        ("per-principal = 3", ["a", "a"], 3),
    ] {
        let admission = admission(caps);
        let mut calls: Vec<_> =
            (0..40).map(|n| begin(&admission, Kind { principal: kinds[n % 2], ..ONE })).collect();
        for _ in 0..3 {
            let running: Vec<_> = (0..calls.len()).filter(|&n| calls[n].runs()).collect();
            assert_eq!(running.len(), most, "{caps}");
            drop(calls.remove(running[0]));
        }
    }
    // A binding's own cap replaces that of all plugins, both ways; other plugins have their own.
    let admission = admission("per-plugin = 2");
    for (plugin, calls, most) in [("x", Some(1), 1), ("y", None, 2), ("z", Some(4), 4)] {
        let kind = Kind { plugin, calls, ..ONE };
        let mut calls: Vec<_> = (0..10).map(|_| begin(&admission, kind)).collect();
        assert_eq!(calls.iter_mut().filter_map(|call| call.runs().then_some(())).count(), most);
    }
}

#[tokio::test]
async fn a_plugin_at_its_cap_keeps_no_other_waiting() {
    let admission = admission("per-plugin = 1");
    let mut first = begin(&admission, ONE);
    let mut second = begin(&admission, ONE);
    let mut other = begin(&admission, Kind { plugin: "y", ..ONE });
    assert!(first.runs() && !second.runs() && other.runs());
    drop(first);
    assert!(second.runs());
}

#[tokio::test]
async fn a_full_queue_refuses_by_the_line_that_says_so() {
    let admission = admission("calls = 1\nper-plugin = 9\nqueue = 3\nqueue-per-principal = 2");
    let mut running = begin(&admission, ONE);
    let waiting = [begin(&admission, ONE), begin(&admission, ONE)];
    let why = begin(&admission, ONE).refused();
    assert!(why.contains("`[concurrency] queue-per-principal = 2`"), "{why}");
    assert!(why.contains("per-principal = 1"), "{why}");
    let other = begin(&admission, Kind { principal: "b", ..ONE });
    let why = begin(&admission, Kind { principal: "c", ..ONE }).refused();
    assert!(why.contains("`[concurrency] queue = 3`") && why.contains("calls = 1"), "{why}");
    // Who leaves makes room at once.
    drop(waiting);
    let mut again = begin(&admission, ONE);
    assert!(running.runs() && !again.runs());
    drop((running, other));
    assert!(again.runs());
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_with_its_time_the_deadline_or_a_cancel() {
    let admission = admission("calls = 1\nper-plugin = 9\nqueue-time = \"5 s\"");
    let _running = begin(&admission, ONE);
    // First, since what follows moves the runtime's clock and not the deadlines'.
    let cancelled = context("b");
    let cancel = cancelled.cancel.clone();
    let call = begin_in(&admission, cancelled, ONE);
    cancel.cancel();
    assert_eq!(call.end().await, Some(End::Cancelled));
    let why = begin(&admission, ONE).end().await;
    let Some(End::Overloaded(why)) = why else { panic!("{why:?}") };
    assert!(why.contains("for 5.0 s") && why.contains("per-principal = 1"), "{why}");
    let deadline = Some(Instant::now());
    let late = CallContext { deadline, ..context("b") };
    let why = begin_in(&admission, late, ONE).end().await;
    let Some(End::Overloaded(why)) = why else { panic!("{why:?}") };
    assert!(why.contains("until the call's deadline") && why.contains("calls = 1"), "{why}");
    assert_eq!(lock(&admission.state).waiting, 0);
}

#[tokio::test]
async fn tools_of_running_calls_never_wait() {
    let admission = admission("calls = 1");
    let _caller = begin(&admission, ONE);
    let _waiting = begin(&admission, Kind { principal: "b", ..ONE });
    let inner = Kind { inner: true, plugin: "y", ..ONE };
    let mut tools: Vec<_> = (0..INNER_PLACES).map(|_| begin(&admission, inner)).collect();
    // One principal leaves some of what is set aside to others.
    let most = INNER_PER_PRINCIPAL as usize;
    assert!(tools[..most].iter_mut().all(Begun::runs));
    assert!(tools[most].refused().contains("a tool cannot wait"));
    assert!(begin(&admission, Kind { principal: "b", ..inner }).runs());
    tools.clear();
    assert!(begin(&admission, inner).runs());
    // The cap of a plugin counts for them too.
    let capped = Kind { calls: Some(1), plugin: "z", ..inner };
    let mut first = begin(&admission, capped);
    let why = begin(&admission, capped).refused();
    assert!(first.runs() && why.contains("`[bindings.z] calls = 1`"), "{why}");
}

#[tokio::test]
async fn large_components_take_several_places_and_are_not_starved() {
    let admission = admission("per-plugin = 900\nper-principal = 900");
    let heavy = Kind { places: 16, plugin: "heavy", principal: "b", ..ONE };
    let mut all: Vec<_> = (0..OUTER_PLACES / 16).map(|_| begin(&admission, heavy)).collect();
    assert!(all.iter_mut().all(Begun::runs));
    let mut one_more = begin(&admission, heavy);
    // Four places are left, but they are kept for the one whose turn it is.
    let mut light = begin(&admission, ONE);
    assert!(!one_more.runs() && !light.runs());
    all.pop();
    assert!(one_more.runs() && light.runs());
    drop((all, one_more, light));
    let state = lock(&admission.state);
    assert_eq!((state.calls, state.places, state.aside, state.waiting), (0, 0, 0, 0));
    assert!(state.principals.is_empty() && state.plugins.is_empty() && state.turns.is_empty());
}

#[tokio::test]
async fn other_caps_are_in_force_at_once() {
    let admission = admission("calls = 1");
    let mut calls: Vec<_> = (0..4).map(|_| begin(&admission, ONE)).collect();
    assert!(calls[0].runs() && !calls[1].runs());
    admission.configure(&toml::from_str("calls = 3\nper-principal = 3\nper-plugin = 3").unwrap());
    assert!(calls[1].runs() && calls[2].runs() && !calls[3].runs());
}

#[tokio::test(start_paused = true)]
async fn rates_are_those_of_the_principal_and_the_plugin() {
    let admission = admission("rate-per-principal = \"2/s\"");
    let count = |principal: &str, plugin: &str, rate: Option<&str>, inner: bool| {
        let rate = rate.map(|rate| rate.parse().expect("a rate"));
        match admission.count(&context(principal), plugin, rate, inner) {
            Ok(()) => String::new(),
            Err(End::Overloaded(why)) => why,
            Err(other) => panic!("{other:?}"),
        }
    };
    assert_eq!(count("a", "x", None, false) + &count("a", "y", None, false), "");
    let why = count("a", "z", None, false);
    assert!(why.contains("`[concurrency] rate-per-principal = \"2/s\"`"), "{why}");
    assert_eq!(count("b", "x", None, false), "");
    // What a running call calls is not the principal's doing, but the plugin's rate holds.
    assert_eq!(count("a", "x", Some("1/min"), true), "");
    let why = count("c", "x", Some("1/min"), true);
    assert!(why.contains("`[bindings.x] rate = \"1/min\"`") && why.contains("60000 ms"), "{why}");
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(count("c", "x", Some("1/min"), false), "");
}

#[test]
fn what_is_malformed_is_refused_with_its_line() {
    for bad in [
        "calls = 0",
        "calls = 901",
        "per-plugin = -1",
        "per-principal = \"4\"",
        "queue = 1000001",
        "queue-time = \"30 parsecs\"",
        "rate-per-principal = \"10\"",
        "speed = 1",
    ] {
        let read = toml::from_str::<ConcurrencyConfig>(&format!("\n\n{bad}"));
        let error = read.expect_err(bad).to_string();
        assert!(error.contains("line 3"), "{bad}: {error}");
    }
}
