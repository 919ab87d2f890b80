//! Documents that the host gets on its own account.

use super::*;
use crate::egress::Errands;

async fn got(path: &str, most: usize) -> Result<Vec<u8>, String> {
    let server = Server::start(|request| match request.line.split(' ').nth(1).unwrap() {
        "/keys" => ok("0123456789"),
        "/chunked" => {
            let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
            format!("{head}400\r\n{}\r\n0\r\n\r\n", "x".repeat(0x400)).into_bytes()
        }
        "/elsewhere" => redirect(302, "/keys"),
        _ => answer("404 Not Found", &[], "no"),
    })
    .await;
    let url = format!("http://127.0.0.1:{}{path}", server.port).parse().unwrap();
    let got = Errands::new().unwrap().get(&url, most).await;
    let log = server.log();
    assert_eq!(log.len(), 1, "one request and no other");
    for header in ["authorization", "cookie", "referer"] {
        assert_eq!(log[0].header(header), None);
    }
    got
}

#[tokio::test]
async fn a_document_is_bounded_and_nothing_leads_elsewhere() {
    assert_eq!(got("/keys", 10).await.unwrap(), b"0123456789");
    assert!(got("/keys", 9).await.unwrap_err().contains("more than 9 bytes"));
    assert_eq!(got("/chunked", 0x400).await.unwrap().len(), 0x400);
    assert!(got("/chunked", 0x3ff).await.unwrap_err().contains("more than 1023 bytes"));
    assert!(got("/elsewhere", 10).await.unwrap_err().contains("status 302"));
    assert!(got("/none", 10).await.unwrap_err().contains("status 404"));
}

#[tokio::test(start_paused = true)]
async fn a_slow_document_is_given_up() {
    let server = Server::start_async(|_| Box::pin(std::future::pending())).await;
    let url = format!("http://127.0.0.1:{}/", server.port).parse().unwrap();
    let given_up = Errands::new().unwrap().get(&url, 10).await.unwrap_err();
    assert!(given_up.contains("longer than 10s"), "{given_up}");
}
