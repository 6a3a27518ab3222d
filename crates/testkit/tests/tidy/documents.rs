//! The documents: their links lead somewhere, and every decision is in the list.

use std::fs;
use std::path::Path;

use super::{files, none, root};

/// The targets of `[text](target)` outside fenced code, without what follows `#`.
fn links(text: &str) -> Vec<String> {
    let fenced = text.split("```").step_by(2);
    let targets =
        fenced.flat_map(|part| part.split("](").skip(1)).filter_map(|rest| rest.split([')', ' ']).next());
    let local = targets.filter(|target| !target.contains("://") && !target.starts_with(['#', '<']));
    local.map(|target| target.split('#').next().unwrap().to_owned()).collect()
}

#[test]
fn links_in_documents_lead_to_files() {
    let mut broken = Vec::new();
    for file in files("", &[".md"]) {
        let folder = Path::new(&file.path).parent().unwrap();
        let targets = links(&file.text).into_iter();
        let lost = targets.filter(|target| !root().join(folder).join(target).exists());
        broken.extend(lost.map(|target| format!("{}: {target}", file.path)));
    }
    none(&broken);
}

#[test]
fn every_decision_is_in_the_list_of_decisions() {
    let list = fs::read_to_string(root().join("docs/decisions/README.md")).unwrap();
    let pages = files("docs/decisions", &[".md"]).into_iter();
    let names = pages.map(|file| file.path.rsplit('/').next().unwrap().to_owned());
    none(
        &names.filter(|name| name != "README.md" && !list.contains(&format!("({name})"))).collect::<Vec<_>>(),
    );
}

#[test]
fn every_document_is_in_the_index() {
    let index = fs::read_to_string(root().join("docs/README.md")).unwrap();
    let pages = files("docs", &[".md"]).into_iter().map(|file| file.path.replacen("docs/", "", 1));
    let outside = pages.filter(|path| path != "README.md" && !path.starts_with("decisions/"));
    none(&outside.filter(|path| !index.contains(&format!("({path})"))).collect::<Vec<_>>());
}
