//! Small named documents of a device.

use axum::Json as Reply;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use roost_hub::access::Action;
use roost_hub::document::{Condition, Document, NewDocument, PutDocumentError};
use roost_hub::id::DeviceId;
use serde_json::{Value, json};

use crate::auth::Caller;
use crate::body;
use crate::page::Page;
use crate::params::Params;
use crate::problem::{Problem, sentence};
use crate::route::{Route, delete, get, put};
use crate::state::{Api, Shared};

pub(crate) fn routes() -> Vec<Route> {
    let about = |route: Route, summary| route.about("documents", summary);
    let list_text = "Lists a device's documents";
    let put_text = "Puts a document of at most 64 KiB, of any content type";
    let condition = "The ETag that is to be replaced, or *";
    let own = "The calling device's own: as under /devices/{id}";
    vec![
        about(get("/api/v1/devices/{id}/documents", list), list_text).paged().answers(200, "DocumentPage"),
        about(get("/api/v1/devices/{id}/documents/{name}", show), "Gives a document as it was put")
            .header("If-None-Match", "The ETag that is known already; 304 when it is still so")
            .answers(200, "application/octet-stream"),
        about(put("/api/v1/devices/{id}/documents/{name}", store), put_text)
            .header("If-Match", condition)
            .header("If-None-Match", "* to put it only where there is none")
            .takes("application/octet-stream")
            .answers(201, "DocumentInfo")
            .answers(200, "DocumentInfo"),
        about(delete("/api/v1/devices/{id}/documents/{name}", remove), "Deletes a document")
            .header("If-Match", condition)
            .answers(204, ""),
        about(get("/api/v1/me/documents", list_own), own).paged().answers(200, "DocumentPage"),
        about(get("/api/v1/me/documents/{name}", show_own), own).answers(200, "application/octet-stream"),
        about(put("/api/v1/me/documents/{name}", store_own), own)
            .takes("application/octet-stream")
            .answers(201, "DocumentInfo")
            .answers(200, "DocumentInfo"),
        about(delete("/api/v1/me/documents/{name}", remove_own), own).answers(204, ""),
    ]
}

fn info(name: &str, document: &Document) -> Value {
    json!({
        "name": name,
        "content_type": document.content_type,
        "etag": document.etag_text(),
        "size": document.body.len(),
        "updated_at": document.updated_at.to_string(),
    })
}

fn refusal(error: PutDocumentError) -> Problem {
    match error {
        PutDocumentError::DeviceUnknown => Problem::not_found("There is no such device."),
        PutDocumentError::Invalid(text) => Problem::invalid(sentence(text)),
        PutDocumentError::TooLarge => Problem::too_large("A document has at most 65,536 bytes."),
        PutDocumentError::TooMany => Problem::conflict(sentence(&error.to_string())),
        PutDocumentError::Conflict(_) => {
            Problem::condition("The document is not as the condition says; read it, then try again.")
        }
        PutDocumentError::Storage(error) => error.into(),
    }
}

/// An etag as headers write it: in quotes, perhaps weak.
fn read_etag(text: &str) -> Option<[u8; 8]> {
    let text = text.trim().trim_start_matches("W/").trim_matches('"');
    hex::decode(text).ok()?.try_into().ok()
}

fn condition(headers: &HeaderMap) -> Result<Condition, Problem> {
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default().trim());
    match (text(header::IF_MATCH), text(header::IF_NONE_MATCH)) {
        (None, None) => Ok(Condition::Any),
        (None, Some("*")) => Ok(Condition::Absent),
        (Some("*"), None) => Ok(Condition::Present),
        // An etag that none of ours can be stands nowhere.
        (Some(etag), None) => {
            read_etag(etag).map(Condition::Etag).ok_or_else(|| refusal(PutDocumentError::Conflict(None)))
        }
        _ => Err(Problem::invalid("Send `If-Match` with an ETag or *, or `If-None-Match: *`.")),
    }
}

fn list_of(
    api: &Api,
    caller: &Caller,
    id: &DeviceId,
    mut params: Params,
) -> Result<Reply<Page<Value>>, Problem> {
    let (limit, cursor) = params.take_page()?;
    params.finish()?;
    let documents = api.hub.documents(caller.tenant(), id)?;
    let page = Page::cut(documents, (limit, cursor.as_deref()), |(name, _)| name.clone());
    let items = page.items.iter().map(|(name, document)| info(name, document)).collect();
    Ok(Reply(Page { items, next: page.next }))
}

fn show_of(
    api: &Api,
    caller: &Caller,
    (id, name): (&DeviceId, &str),
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let document = api.hub.document(caller.tenant(), id, name)?;
    let document = document.ok_or_else(|| Problem::not_found("There is no document of this name."))?;
    let etag = (header::ETAG, format!("\"{}\"", document.etag_text()));
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if known.split(',').any(|one| one.trim() == "*" || read_etag(one) == Some(document.etag)) {
        return Ok((StatusCode::NOT_MODIFIED, [etag]).into_response());
    }
    // What somebody put must not run as a page of ours, whatever type it names.
    let sandbox = [
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox; default-src 'none'")),
        (header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    let content_type = [(header::CONTENT_TYPE, document.content_type)];
    Ok((StatusCode::OK, [etag], sandbox, content_type, document.body).into_response())
}

async fn store_of(
    api: &Api,
    caller: &Caller,
    (id, name): (&DeviceId, &str),
    request: Request,
) -> Result<Response, Problem> {
    let condition = condition(request.headers())?;
    let content_type = request.headers().get(header::CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let body = body::read(request, &()).await?;
    let is_new = api.hub.document(caller.tenant(), id, name)?.is_none();
    let new = NewDocument { content_type, body };
    let put = api.hub.put_document(caller.tenant(), id, (name, condition), new).await;
    let document = put.map_err(refusal)?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    let etag = [(header::ETAG, format!("\"{}\"", document.etag_text()))];
    Ok((status, etag, Reply(info(name, &document))).into_response())
}

async fn remove_of(
    api: &Api,
    caller: &Caller,
    (id, name): (&DeviceId, &str),
    headers: &HeaderMap,
) -> Result<StatusCode, Problem> {
    let condition = condition(headers)?;
    match api.hub.delete_document(caller.tenant(), id, (name, condition)).await {
        Ok(true) => Ok(StatusCode::NO_CONTENT),
        Ok(false) => Err(Problem::not_found("There is no document of this name.")),
        Err(error) => Err(refusal(error)),
    }
}

type Two = Path<(String, String)>;

async fn list(
    State(api): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
    params: Params,
) -> Result<Reply<Page<Value>>, Problem> {
    let device = caller.device(&api, &id, |id| Action::ReadDevice(id))?;
    list_of(&api, &caller, &device.id, params)
}

async fn show(
    State(api): State<Shared>,
    caller: Caller,
    Path((id, name)): Two,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let device = caller.device(&api, &id, |id| Action::ReadDevice(id))?;
    show_of(&api, &caller, (&device.id, &name), &headers)
}

async fn store(
    State(api): State<Shared>,
    caller: Caller,
    Path((id, name)): Two,
    request: Request,
) -> Result<Response, Problem> {
    let device = caller.device(&api, &id, |id| Action::WriteDocuments(id))?;
    store_of(&api, &caller, (&device.id, &name), request).await
}

async fn remove(
    State(api): State<Shared>,
    caller: Caller,
    Path((id, name)): Two,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let device = caller.device(&api, &id, |id| Action::WriteDocuments(id))?;
    remove_of(&api, &caller, (&device.id, &name), &headers).await
}

async fn list_own(
    State(api): State<Shared>,
    caller: Caller,
    params: Params,
) -> Result<Reply<Page<Value>>, Problem> {
    list_of(&api, &caller, &caller.own_device()?, params)
}

async fn show_own(
    State(api): State<Shared>,
    caller: Caller,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    show_of(&api, &caller, (&caller.own_device()?, &name), &headers)
}

async fn store_own(
    State(api): State<Shared>,
    caller: Caller,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    store_of(&api, &caller, (&caller.own_device()?, &name), request).await
}

async fn remove_own(
    State(api): State<Shared>,
    caller: Caller,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    remove_of(&api, &caller, (&caller.own_device()?, &name), &headers).await
}
