//! Resources: the pages of the plugins that are served, and the files of the workspace.
//!
//! Files are listed and read by the plugin `files`, for the principal who asks: what its binding and
//! the principal are not granted is not there, and each reading is a call like any other, under limits
//! and in the journal.

use std::path::PathBuf;

use ampoule::{Call, End, Host, ToolPattern, Tools};
use ampoule_server::Resources;
use ampoule_server::model::{Resource, ResourceContents};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Value, json};

/// What the URI of a plugin's page begins with; its binding's name follows.
const PAGES: &str = "ampoule:plugins/";

/// What the URI of a file begins with; the binding of `files` and the path follow.
const FILES: &str = "ampoule:files/";

/// The plugin that reads files.
const PLUGIN: &str = "files";

/// How many files are listed.
const MOST_FILES: usize = 1_000;

/// How much of a file is read: 1 MiB.
const MOST_BYTES: usize = 1 << 20;

/// What a path keeps as it is in a URI.
const PLAIN: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What there is to read beside the tools.
pub(super) struct Library {
    pub(super) host: Host,
    pub(super) workspace: Option<PathBuf>,
    /// The tools that are served.
    pub(super) served: Vec<ToolPattern>,
}

impl Library {
    /// The bindings of which a tool is served to a principal.
    fn bindings(&self, principal: Option<&str>) -> Vec<String> {
        let tools = self.host.tools_for(principal).into_iter();
        let served = tools.filter(|tool| self.served.iter().any(|p| p.matches(&tool.id)));
        let mut bindings: Vec<_> = served.map(|tool| tool.binding.clone()).collect();
        bindings.dedup();
        bindings
    }

    /// The bindings that can list and read files, where there is a workspace.
    fn readers(&self, principal: Option<&str>) -> Vec<String> {
        if self.workspace.is_none() {
            return Vec::new();
        }
        let tools = self.host.tools_for(principal);
        let serves = |id: String| {
            tools.iter().any(|tool| tool.id == id) && self.served.iter().any(|p| p.matches(&id))
        };
        let bindings = self.host.bindings().into_iter();
        let of_plugin = bindings.filter(|binding| {
            binding.manifest.as_ref().is_some_and(|manifest| manifest.name == PLUGIN)
        });
        let names = of_plugin.map(|binding| binding.name);
        names
            .filter(|name| serves(format!("{name}/list")) && serves(format!("{name}/read")))
            .collect()
    }

    async fn call(
        &self,
        tool: String,
        arguments: Value,
        principal: Option<&str>,
    ) -> Result<Value, End> {
        let mut call = Call::new(tool, arguments);
        call.context.principal = principal.map(str::to_owned);
        call.context.workspace = self.workspace.clone();
        match self.host.call(call).await.end {
            End::Value(output) => Ok(output.value.unwrap_or_default()),
            end => Err(end),
        }
    }

    async fn files(&self, binding: &str, principal: Option<&str>) -> Vec<Resource> {
        let arguments = json!({"recursive": true, "limit": MOST_FILES});
        let listed = match self.call(format!("{binding}/list"), arguments, principal).await {
            Ok(listed) => listed,
            Err(end) => {
                tracing::debug!(binding, end = end.word(), "the workspace is not listed");
                return Vec::new();
            }
        };
        let entries = listed["entries"].as_array().into_iter().flatten();
        let files = entries.filter(|entry| entry["kind"] == "file");
        let resource = |entry: &Value| {
            let path = entry["path"].as_str()?;
            let encoded = utf8_percent_encode(path, PLAIN);
            let mut resource = Resource::new(format!("{FILES}{binding}/{encoded}"), path);
            resource.size = entry["size"].as_u64();
            Some(resource)
        };
        files.filter_map(resource).collect()
    }

    async fn file(
        &self,
        uri: &str,
        place: &str,
        principal: Option<&str>,
    ) -> Result<Option<Vec<ResourceContents>>, String> {
        let Some((binding, path)) = place.split_once('/') else { return Ok(None) };
        if !self.readers(principal).iter().any(|reader| reader == binding) {
            return Ok(None);
        }
        let Ok(path) = percent_decode_str(path).decode_utf8() else { return Ok(None) };
        let read = async |encoding: &str| {
            let arguments = json!({"path": path, "length": MOST_BYTES, "encoding": encoding});
            self.call(format!("{binding}/read"), arguments, principal).await
        };
        // What is no text is said so by the plugin.
        let (value, is_text) = match read("text").await {
            Ok(value) => (Ok(value), true),
            Err(End::Failed(error)) if error.code == "invalid-data" => {
                (read("base64").await, false)
            }
            Err(end) => (Err(end), true),
        };
        let value = match value {
            Ok(value) => value,
            // No file has such a name.
            Err(End::BadArguments(_)) => return Ok(None),
            Err(End::Failed(error)) if matches!(&*error.code, "not-found" | "bad-arguments") => {
                return Ok(None);
            }
            Err(end) => {
                return Err(end.into_result().err().map_or_else(String::new, |e| e.to_string()));
            }
        };
        if value["size"].as_u64().is_some_and(|size| size > MOST_BYTES as u64) {
            return Err(format!(
                "the file has more than {MOST_BYTES} bytes, too many for a resource; the tool \
                 `{binding}/read` reads it in parts"
            ));
        }
        let content = if is_text { &value["text"] } else { &value["data"] };
        let content = content.as_str().unwrap_or_default();
        Ok(Some(vec![match is_text {
            true => ResourceContents::text(content, uri),
            false => ResourceContents::blob(content, uri),
        }]))
    }

    fn page(&self, name: &str, principal: Option<&str>) -> Option<String> {
        if !self.bindings(principal).iter().any(|binding| binding == name) {
            return None;
        }
        crate::commands::docs::page_of(&self.host, name)
    }
}

#[async_trait::async_trait]
impl Resources for Library {
    async fn resources(&self, principal: Option<&str>) -> Vec<Resource> {
        let served = self.bindings(principal);
        let documented = self.host.bindings().into_iter().filter_map(|binding| {
            let manifest = binding.manifest.filter(|_| served.contains(&binding.name))?;
            let page = Resource::new(format!("{PAGES}{}", binding.name), binding.name);
            Some(page.with_description(manifest.summary).with_mime_type("text/markdown"))
        });
        let mut all: Vec<_> = documented.collect();
        for binding in self.readers(principal) {
            all.extend(self.files(&binding, principal).await);
        }
        all
    }

    async fn read(
        &self,
        uri: &str,
        principal: Option<&str>,
    ) -> Result<Option<Vec<ResourceContents>>, String> {
        if let Some(place) = uri.strip_prefix(FILES) {
            return self.file(uri, place, principal).await;
        }
        let page = uri.strip_prefix(PAGES).and_then(|name| self.page(name, principal));
        let contents = |page| ResourceContents::text(page, uri).with_mime_type("text/markdown");
        Ok(page.map(|page| vec![contents(page)]))
    }
}
