//! What an embedder offers beside tools: prompts and resources.

use std::collections::BTreeMap;

use rmcp::model::{
    ErrorData, GetPromptResult, JsonObject, ListPromptsResult, ListResourceTemplatesResult,
    ListResourcesResult, Prompt, ReadResourceResult, Resource, ResourceContents, ResourceTemplate,
};
use serde_json::json;

use crate::paging::page;

/// Texts that a person starts a conversation with.
#[async_trait::async_trait]
pub trait Prompts: Send + Sync {
    /// The prompts there are for a principal.
    fn prompts(&self, principal: Option<&str>) -> Vec<Prompt>;

    /// The messages of the prompt called `name`, with the arguments filled in; nothing, where
    /// there is no such prompt. The arguments are what a client sent, of any shape.
    ///
    /// # Errors
    /// The arguments do not fit: why, for the person.
    async fn get(
        &self,
        name: &str,
        arguments: &JsonObject,
        principal: Option<&str>,
    ) -> Result<Option<GetPromptResult>, String>;
}

/// Content that a person or an agent adds to a conversation.
#[async_trait::async_trait]
pub trait Resources: Send + Sync {
    /// The resources there are for a principal: at most some thousands.
    async fn resources(&self, principal: Option<&str>) -> Vec<Resource>;

    /// The patterns of further ones. Default: none.
    fn templates(&self, principal: Option<&str>) -> Vec<ResourceTemplate> {
        let _ = principal;
        Vec::new()
    }

    /// The content of a resource; nothing, where there is no such resource. The URI is what a
    /// client sent, of any shape.
    ///
    /// # Errors
    /// It cannot be read just now: why, for the person.
    async fn read(
        &self,
        uri: &str,
        principal: Option<&str>,
    ) -> Result<Option<Vec<ResourceContents>>, String>;
}

pub(crate) fn list_prompts(
    prompts: &dyn Prompts,
    principal: Option<&str>,
    cursor: Option<&str>,
) -> Result<ListPromptsResult, ErrorData> {
    let all = prompts.prompts(principal).into_iter();
    let (page, next) = page(all.map(|prompt| (prompt.name.clone(), prompt)).collect(), cursor)?;
    let mut result = ListPromptsResult::with_all_items(values(page));
    result.next_cursor = next;
    Ok(result)
}

pub(crate) async fn get_prompt(
    prompts: &dyn Prompts,
    name: &str,
    arguments: &JsonObject,
    principal: Option<&str>,
) -> Result<GetPromptResult, ErrorData> {
    let found = prompts.get(name, arguments, principal).await;
    let found = found.map_err(|why| ErrorData::invalid_params(why, None))?;
    found.ok_or_else(|| {
        let shown: String = name.chars().take(128).collect();
        let message = format!("there is no prompt `{shown}`; `prompts/list` has all there are");
        ErrorData::invalid_params(message, None)
    })
}

pub(crate) async fn list_resources(
    resources: &dyn Resources,
    principal: Option<&str>,
    cursor: Option<&str>,
) -> Result<ListResourcesResult, ErrorData> {
    let all = resources.resources(principal).await.into_iter();
    let all = all.map(|resource| (resource.uri.clone(), resource)).collect();
    let (page, next) = page(all, cursor)?;
    let mut result = ListResourcesResult::with_all_items(values(page));
    result.next_cursor = next;
    Ok(result)
}

pub(crate) fn list_templates(
    resources: &dyn Resources,
    principal: Option<&str>,
    cursor: Option<&str>,
) -> Result<ListResourceTemplatesResult, ErrorData> {
    let all = resources.templates(principal).into_iter();
    let all: BTreeMap<_, _> = all.map(|each| (each.uri_template.clone(), each)).collect();
    let (page, next) = page(all, cursor)?;
    let mut result = ListResourceTemplatesResult::with_all_items(values(page));
    result.next_cursor = next;
    Ok(result)
}

pub(crate) async fn read_resource(
    resources: Option<&dyn Resources>,
    uri: &str,
    principal: Option<&str>,
) -> Result<ReadResourceResult, ErrorData> {
    let shown: String = uri.chars().take(2048).collect();
    let data = Some(json!({ "uri": shown }));
    let read = match resources {
        Some(resources) => resources.read(uri, principal).await,
        None => Ok(None),
    };
    match read {
        Ok(Some(contents)) => Ok(ReadResourceResult::new(contents)),
        Ok(None) => Err(ErrorData::resource_not_found("there is no such resource", data)),
        Err(why) => Err(ErrorData::internal_error(why, data)),
    }
}

fn values<T>(page: Vec<(String, T)>) -> Vec<T> {
    page.into_iter().map(|(_, value)| value).collect()
}
