//! Requests to the worker of the live screen, and their responses: it reads functions that are
//! added, so that no frame waits for a file.

use std::sync::Arc;

use crate::query_worker::{QueryContext, QueryRequest};
use cyclometer_workload::{Catalog, LineCompletion, complete_function_line};

/// Request to the worker of the live screen.
#[derive(Debug, Clone)]
pub enum LiveRequest {
    /// Adds the functions that lines name to a catalog.
    Add {
        /// Lines, of one function each.
        lines: Vec<String>,
        /// Name of their preset.
        preset: String,
        /// Names that are known to be those of images.
        images: Vec<String>,
        /// Catalog that they are added to.
        catalog: Arc<Catalog>,
    },
    /// Completes the last word of a line.
    Complete {
        /// Line as it was written.
        line: String,
        /// Names of images.
        images: Vec<String>,
    },
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
    Added(Result<AddedFunctions, String>),
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
        LiveRequest::Add { lines, preset, images, catalog } => {
            LiveResponse::Added(add_lines(&lines, &preset, &images, &catalog))
        }
        LiveRequest::Complete { line, images } => {
            let completion = complete_function_line(&line, &images);
            LiveResponse::Completed { asked: line, completion }
        }
    }
}

fn add_lines(
    lines: &[String],
    preset: &str,
    images: &[String],
    catalog: &Catalog,
) -> Result<AddedFunctions, String> {
    let (mut catalog, mut names) = (catalog.clone(), Vec::new());
    for line in lines {
        let added = catalog.add_function_line(line, preset, images);
        names.extend(added.map_err(|error| error.to_string())?);
    }
    Ok(AddedFunctions { catalog: Arc::new(catalog), names })
}
