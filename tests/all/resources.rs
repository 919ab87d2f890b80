//! The files of a workspace as resources of MCP, of the command as its users have it.

use std::path::Path;

use ampoule_tests::command;
use ampoule_tests::served::folder;
use rmcp::model::{ReadResourceRequestParams, ResourceContents};
use rmcp::service::RunningService;
use rmcp::transport::TokioChildProcess;
use rmcp::{RoleClient, ServiceExt};
use tokio::process::Command;

/// A folder with a workspace in it, and something beside that.
fn workspace(lines: &str) -> tempfile::TempDir {
    let folder = folder(&format!("plugins = [\"PLUGINS/files.wasm\"]\n{lines}"));
    let at = folder.path();
    std::fs::create_dir_all(at.join("work/sub folder")).unwrap();
    std::fs::write(at.join("work/note.txt"), "a note").unwrap();
    std::fs::write(at.join("work/sub folder/ä#?%.txt"), "an odd name").unwrap();
    std::fs::write(at.join("work/pixel.bin"), [0xff, 0xfe, 0x00]).unwrap();
    std::fs::write(at.join("work/large.txt"), "x".repeat((1 << 20) + 1)).unwrap();
    std::fs::write(at.join("secret.txt"), "beside the workspace").unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink("../secret.txt", at.join("work/link.txt")).unwrap();
    folder
}

async fn client(folder: &Path, arguments: &[&str]) -> RunningService<RoleClient, ()> {
    let mut server = Command::new(command());
    server.arg("mcp").args(arguments).current_dir(folder);
    ().serve(TokioChildProcess::new(server).unwrap()).await.unwrap()
}

/// The URIs of the files that are listed.
async fn listed(client: &RunningService<RoleClient, ()>) -> Vec<String> {
    let all = client.list_all_resources().await.unwrap().into_iter().map(|resource| resource.uri);
    all.filter(|uri| uri.starts_with("ampoule:files/")).collect()
}

async fn read(client: &RunningService<RoleClient, ()>, uri: &str) -> Result<String, String> {
    let read = client.read_resource(ReadResourceRequestParams::new(uri)).await;
    let contents = read.map_err(|error| error.to_string())?.contents;
    Ok(match &contents[0] {
        ResourceContents::TextResourceContents { text, .. } => text.clone(),
        ResourceContents::BlobResourceContents { blob, .. } => format!("blob {blob}"),
        other => panic!("{other:?}"),
    })
}

const GRANTED: &str = "[bindings.files]\ngrant.files = \"read\"\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_may_be_read_are_resources() {
    let folder = workspace(GRANTED);
    let client = client(folder.path(), &["--workspace", "work"]).await;
    let listed = listed(&client).await;
    let odd = "ampoule:files/files/sub%20folder/%C3%A4%23%3F%25.txt";
    for uri in [odd, "ampoule:files/files/note.txt", "ampoule:files/files/pixel.bin"] {
        assert!(listed.iter().any(|known| known == uri), "{uri}: {listed:?}");
    }
    assert!(!listed.iter().any(|uri| uri.contains("link") || uri.contains("secret")), "{listed:?}");
    assert_eq!(read(&client, odd).await.unwrap(), "an odd name");
    assert_eq!(read(&client, "ampoule:files/files/note.txt").await.unwrap(), "a note");
    assert_eq!(read(&client, "ampoule:files/files/pixel.bin").await.unwrap(), "blob //4A");
    let refused = read(&client, "ampoule:files/files/large.txt").await.unwrap_err();
    assert!(refused.contains("files/read"), "{refused}");
    client.cancel().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_uri_leads_out_of_the_workspace() {
    let folder = workspace(GRANTED);
    let client = client(folder.path(), &["--workspace", "work"]).await;
    let absolute = folder.path().join("secret.txt").display().to_string();
    for place in [
        "../secret.txt",
        "sub folder/../../secret.txt",
        "%2e%2e/secret.txt",
        "%2e%2e%2fsecret.txt",
        "..%5csecret.txt",
        "..%252fsecret.txt",
        "%252e%252e/secret.txt",
        "%c0%ae%c0%ae/secret.txt",
        "./../secret.txt",
        "link.txt",
        "note.txt/../../secret.txt",
        "note.txt%00/../secret.txt",
        "",
        "/",
        "%",
        &absolute,
        &absolute.replace('/', "%2f"),
    ] {
        for binding in ["files", "files/files", "other", "..", "%66iles", "FILES"] {
            let uri = format!("ampoule:files/{binding}/{place}");
            let refused = read(&client, &uri).await;
            assert!(refused.is_err(), "{uri}: {refused:?}");
            let refused = refused.unwrap_err();
            assert!(!refused.contains("beside the workspace"), "{uri}: {refused}");
        }
    }
    for uri in ["file:///etc/passwd", "ampoule:files", "ampoule:", "", "ampoule:plugins/../files"] {
        assert!(read(&client, uri).await.is_err(), "{uri}");
    }
    assert!(read(&client, &format!("ampoule:files/files/{}", "x".repeat(100_000))).await.is_err());
    assert_eq!(read(&client, "ampoule:files/files/note.txt").await.unwrap(), "a note");
    client.cancel().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_granted_served_or_left_is_no_resource() {
    let narrowed = format!("{GRANTED}[principals.guest]\ngrant.files = \"none\"\n");
    let without_tools = format!("{GRANTED}[principals.guest]\ntools = [\"files/list\"]\n");
    let guest = ["--workspace", "work", "--principal", "guest"];
    for (lines, arguments) in [
        ("", &["--workspace", "work"][..]),
        (GRANTED, &[]),
        (GRANTED, &["--workspace", "work", "--tools", "files/list"]),
        (&narrowed, &guest),
        (&without_tools, &guest),
    ] {
        let folder = workspace(lines);
        let client = client(folder.path(), arguments).await;
        assert_eq!(listed(&client).await, Vec::<String>::new(), "{lines} {arguments:?}");
        let refused = read(&client, "ampoule:files/files/note.txt").await;
        assert!(refused.is_err(), "{lines} {arguments:?}: {refused:?}");
        client.cancel().await.unwrap();
    }
}
