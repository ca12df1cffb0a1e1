//! Requests to the worker of the live screen, and their responses: it reads functions that are
//! added, so that no frame waits for a file.

use std::sync::Arc;

use crate::query_worker::{QueryContext, QueryRequest};
use cyclometer_workload::{Catalog, LineCompletion, complete_function_line};

/// Request to the worker of the live screen.
#[derive(Debug, Clone)]
pub enum LiveRequest {
    /// Adds the functions that lines name to a catalog.
    Add(AddRequest),
    /// Completes the last word of a line.
    Complete {
        /// Line as it was written.
        line: String,
        /// Names of images.
        images: Vec<String>,
    },
}

/// Request to add functions to a catalog.
#[derive(Debug, Clone)]
pub struct AddRequest {
    /// Number by which whoever asked knows the answer.
    pub serial: u64,
    /// Lines, of one function each.
    pub lines: Vec<String>,
    /// Name of their preset.
    pub preset: String,
    /// Names that are known to be those of images.
    pub images: Vec<String>,
    /// Catalog that they are added to.
    pub catalog: Arc<Catalog>,
}

impl QueryRequest for LiveRequest {
    fn supersedes(&self, older: &Self) -> bool {
        matches!((self, older), (Self::Complete { .. }, Self::Complete { .. }))
    }
}

/// Response of the worker of the live screen.
#[derive(Debug)]
pub enum LiveResponse {
    /// Functions were added, or one of them cannot be.
    Added {
        /// Request that was answered.
        request: AddRequest,
        /// Functions, or the reason why one of them cannot be added.
        added: Result<AddedFunctions, String>,
    },
    /// A line was completed.
    Completed {
        /// Line as it was written.
        asked: String,
        /// Completion of it.
        completion: LineCompletion,
    },
}

/// Functions that were added.
#[derive(Debug)]
pub struct AddedFunctions {
    /// Catalog that has them.
    pub catalog: Arc<Catalog>,
    /// Names of the functions.
    pub names: Vec<String>,
}

/// Computes a response, on the worker's thread.
pub fn answer(_: &mut QueryContext, ask: LiveRequest) -> LiveResponse {
    match ask {
        LiveRequest::Add(request) => LiveResponse::Added { added: add_lines(&request), request },
        LiveRequest::Complete { line, images } => {
            let completion = complete_function_line(&line, &images);
            LiveResponse::Completed { asked: line, completion }
        }
    }
}

fn add_lines(request: &AddRequest) -> Result<AddedFunctions, String> {
    let (mut catalog, mut names) = (Catalog::clone(&request.catalog), Vec::new());
    for line in &request.lines {
        let added = catalog.add_function_line(line, &request.preset, &request.images);
        names.extend(added.map_err(|error| error.to_string())?);
    }
    Ok(AddedFunctions { catalog: Arc::new(catalog), names })
}
