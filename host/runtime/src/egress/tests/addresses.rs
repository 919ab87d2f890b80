//! Which addresses are connected to.

use super::*;
use crate::egress::RequestBody;

#[tokio::test]
async fn loopback_needs_a_grant() {
    let server = Server::start(|_| ok("hello")).await;
    let names = Names::new(&[("local.example", &[&["127.0.0.1"]])]);
    let egress = Egress::new(names);
    for host in ["127.0.0.1", "2130706433", "local.example", "[::ffff:127.0.0.1]"] {
        let url = format!("http://{host}:{}/", server.port);
        assert_eq!(gate(&egress.send(&open(&[]), get(&url)).await), "address", "{host}");
    }
    assert_eq!(server.connections(), 0);

    for host in ["127.0.0.1", "local.example"] {
        let url = format!("http://{host}:{}/", server.port);
        let mut response = egress.send(&open(&["127.0.0.1"]), get(&url)).await.unwrap();
        assert_eq!(response.status, 200);
        assert_eq!(text(&mut response.body).await, "hello");
        assert!(!response.body.truncated());
    }
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_refusal_gives_the_line_and_reaches_through_the_transport() {
    let egress = Egress::new(Names::new(&[("db.example", &[&["10.1.2.3", "10.1.2.4"]])]));
    let result = egress.send(&open(&[]), get("http://db.example/x?key=secret")).await;
    let Err(EgressError::Denied(denial)) = result else { panic!("{result:?}") };
    assert_eq!(
        denial.message,
        "`db.example` is at a special address that is not granted to `test`: \
         10.1.2.3, private network (RFC 1918); 10.1.2.4, private network (RFC 1918)"
    );
    let lines = "[bindings.test]\ngrant.addresses = [\"10.1.2.3\", \"10.1.2.4\"]";
    assert_eq!(denial.allow.as_deref(), Some(lines));
}

#[tokio::test]
async fn one_private_answer_among_public_ones_refuses_the_name() {
    let server = Server::start(|_| ok("")).await;
    for answers in [
        &["127.0.0.2", "127.0.0.1"][..],
        &["127.0.0.1", "127.0.0.2"],
        &["127.0.0.2", "1.1.1.1", "::1"],
    ] {
        let names = Names::new(&[("mixed.example", &[answers])]);
        let url = format!("http://mixed.example:{}/", server.port);
        let result = Egress::new(names).send(&open(&["127.0.0.2"]), get(url)).await;
        assert_eq!(gate(&result), "address", "{answers:?}");
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn a_name_is_looked_up_once_for_each_connection_and_never_in_between() {
    // First the granted address, then, as soon as it has been judged, another one.
    let names = Names::new(&[("rebind.example", &[&["127.0.0.2"], &["127.0.0.1"]])]);
    let server = Server::start(|_| answer("200 OK", &[("connection", "close")], "")).await;
    let egress = Egress::new(names.clone());
    let policy = policy(&["GET http://rebind.example:*/**"], &["127.0.0.2"]);
    let url = format!("http://rebind.example:{}/", server.port);

    let mut first = egress.send(&policy, get(&url)).await.unwrap();
    text(&mut first.body).await;
    assert_eq!(names.asked(), ["rebind.example"]);
    assert_eq!(server.log()[0].local.ip().to_string(), "127.0.0.2");

    // The connection is gone, so the name is looked up and judged again.
    assert_eq!(gate(&egress.send(&policy, get(&url)).await), "address");
    assert_eq!(names.asked().len(), 2);
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_kept_connection_goes_where_it_was_judged_to() {
    let names = Names::new(&[("keep.example", &[&["127.0.0.2"], &["127.0.0.1"]])]);
    let server = Server::start(|_| ok("x")).await;
    let egress = Egress::new(names.clone());
    let named = policy(&["GET http://keep.example:*/**"], &["127.0.0.2"]);
    let url = format!("http://keep.example:{}/", server.port);
    for _ in 0..3 {
        let mut response = egress.send(&named, get(&url)).await.unwrap();
        text(&mut response.body).await;
    }
    assert_eq!(names.asked().len(), 1);
    assert_eq!(server.connections(), 1);
    assert!(server.log().iter().all(|request| request.local.ip().to_string() == "127.0.0.2"));
}

#[tokio::test]
async fn policies_share_no_connection() {
    let names = Names::new(&[("keep.example", &[&["127.0.0.1"]])]);
    let server = Server::start(|_| ok("x")).await;
    let egress = Egress::new(names);
    let url = format!("http://keep.example:{}/", server.port);
    let granted = policy(&["GET http://keep.example:*/**"], &["127.0.0.1"]);
    let mut response = egress.send(&granted, get(&url)).await.unwrap();
    text(&mut response.body).await;

    // The idle connection is there, and of no use to one who may not make it.
    let denied = policy(&["GET http://keep.example:*/**"], &[]);
    assert_eq!(gate(&egress.send(&denied, get(&url)).await), "address");

    let wider = policy(&["GET http://keep.example:*/**"], &["127.0.0.0/8"]);
    let mut response = egress.send(&wider, get(&url)).await.unwrap();
    text(&mut response.body).await;
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn hosts_that_are_only_matched_leave_no_connection_behind() {
    let names = Names::new(&[("a.example", &[&["127.0.0.1"]])]);
    let server = Server::start(|_| ok("x")).await;
    let egress = Egress::new(names);
    let url = format!("http://a.example:{}/", server.port);
    for body in ["", "", "x", "x"] {
        let body = match body {
            "" => RequestBody::Empty,
            body => RequestBody::Bytes(body.into()),
        };
        let request = EgressRequest { body, ..EgressRequest::new("POST", &url, account()) };
        let mut response = egress.send(&open(&["127.0.0.1"]), request).await.unwrap();
        text(&mut response.body).await;
    }
    assert_eq!(server.connections(), 4);
}

#[tokio::test]
async fn names_that_lead_nowhere() {
    let egress = Egress::new(Names::new(&[("empty.example", &[])]));
    for host in ["none.example", "empty.example"] {
        let result = egress.send(&open(&[]), get(format!("http://{host}/?k=secret"))).await;
        assert_eq!(code(&result), "unavailable", "{host}");
        assert!(!format!("{result:?}").contains("secret"));
    }
}

#[tokio::test]
async fn the_system_finds_its_own_name() {
    use crate::egress::{Resolve, SystemResolver};
    let found = SystemResolver::default().resolve("localhost").await.unwrap();
    assert!(!found.is_empty() && found.iter().all(|address| address.is_loopback()));
    let server = Server::start(|_| ok("x")).await;
    let url = format!("http://localhost:{}/", server.port);
    assert_eq!(gate(&Egress::default().send(&open(&[]), get(url)).await), "address");
    assert_eq!(server.connections(), 0);
}
