//! `anyfold verify`: golden cases against what this program computes on this machine.
//!
//! [`golden`] reads a case, [`rules`] holds every tolerance, [`report`] words the outcome. Each other file runs the modules of one group.

use std::cell::{OnceCell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use golden::Golden;
use host_structure::Outputs;
use report::{CaseReport, Outcome};

use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::gpu::device::Choice;
use crate::gpu::program::Cache;
use crate::gpu::recorder::Family;
use crate::graph::Saving;
use crate::graph::run::Session;

pub mod alphafold_config;
pub mod bench;
pub mod data;
pub mod diagonal;
pub mod embedded;
pub mod golden;
mod gpu_attention;
pub mod gpu_evoformer;
pub mod gpu_losses;
pub mod gpu_losses_basic;
pub mod gpu_model;
pub mod gpu_modules;
pub mod gpu_outer;
pub mod gpu_structure;
pub mod gpu_trajectory;
pub mod hashed;
pub mod host_confidence;
pub mod host_files;
pub mod host_structure;
pub mod replay;
pub mod report;
pub mod rules;
pub mod templates;
pub mod trajectory;

/// What the cases of one run share: the device, opened by the first case that needs it, and its compiled kernels.
#[derive(Default)]
pub struct Context {
    choice: Choice,
    /// How much is computed again to save memory.
    pub saving: Saving,
    gpu: OnceCell<Gpu>,
    /// Compiled kernels.
    pub cache: Cache,
    look: RefCell<Option<Look>>,
}

/// What looks at a case's session after it ran.
type Look = Box<dyn FnOnce(&Session) -> Result<()>>;

impl Context {
    /// A run on the adapter, and with the limits and kernels, that `choice` asks for, computing again what `saving` says.
    pub fn new(choice: Choice, saving: Saving) -> Self {
        Self { choice, saving, ..Self::default() }
    }

    /// Has `look` called with the next session that runs a case.
    pub fn look(&self, look: impl FnOnce(&Session) -> Result<()> + 'static) {
        *self.look.borrow_mut() = Some(Box::new(look));
    }

    /// Whether somebody is still to look.
    pub fn waits(&self) -> bool {
        self.look.borrow().is_some()
    }

    fn ran(&self, session: &Session) -> Result<()> {
        let look = self.look.borrow_mut().take();
        look.map_or(Ok(()), |look| look(session))
    }

    /// The device; an error says what to try where there is none.
    pub fn gpu(&self) -> Result<&Gpu> {
        if self.gpu.get().is_none() {
            let opened = Gpu::open(&self.choice)?;
            return Ok(self.gpu.get_or_init(|| opened));
        }
        Ok(self.gpu.get().expect("just seen"))
    }
}

/// Runs a case's module, or gives `None` when the module is not one of its own.
pub type Runner = fn(&Context, &Golden) -> Option<Result<Outputs>>;

/// All runners; the first that knows a module runs it.
#[rustfmt::skip]
pub const RUNNERS: &[Runner] = &[
    gpu_structure::run,
    gpu_trajectory::run,
    gpu_losses_basic::run,
    gpu_attention::run,
    gpu_outer::run,
    gpu_losses::run,
    gpu_evoformer::run,
    gpu_model::run,
    gpu_modules::run,
    |_, case| data::run(case),
    |_, case| templates::run(case),
    |_, case| host_structure::run(case),
];

/// The golden files at `paths`: files as named, folders with everything below them, in order of name.
pub fn find(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in paths {
        let before = found.len();
        below(path, &mut found)?;
        if found.len() == before {
            return Err(Error::format(path, "no golden case (`.safetensors`) in this folder"));
        }
    }
    Ok(found)
}

fn below(path: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    if !path.is_dir() {
        std::fs::metadata(path).map_err(|e| Error::io(path, e))?;
        found.push(path.to_path_buf());
        return Ok(());
    }
    let entries = std::fs::read_dir(path).and_then(|all| all.map(|e| e.map(|e| e.path())).collect::<std::io::Result<Vec<_>>>());
    let mut entries = entries.map_err(|e| Error::io(path, e))?;
    entries.sort();
    // `is_dir` follows links; a folder that is a link could lead in a circle.
    let wanted = |p: &PathBuf| if p.is_dir() { !p.is_symlink() } else { p.extension().is_some_and(|e| e == "safetensors") };
    entries.iter().filter(|p| wanted(p)).try_for_each(|p| below(p, found))
}

/// `group/case` of a file.
pub fn case_name(path: &Path) -> String {
    let stem = path.file_stem().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    match path.parent().and_then(Path::file_name) {
        Some(group) => format!("{}/{stem}", group.to_string_lossy()),
        None => stem,
    }
}

/// Whether `text` fits `glob`, in which `*` stands for anything and `?` for one character.
pub fn fits(glob: &str, text: &str) -> bool {
    let (glob, text): (Vec<char>, Vec<char>) = (glob.chars().collect(), text.chars().collect());
    // `reached[j]`: the part of the glob seen so far can end at text position j.
    let mut reached = vec![false; text.len() + 1];
    reached[0] = true;
    for g in glob {
        let mut next = vec![false; text.len() + 1];
        for j in 0..=text.len() {
            next[j] = match g {
                '*' => reached[j] || j > 0 && next[j - 1],
                _ => j > 0 && reached[j - 1] && (g == '?' || g == text[j - 1]),
            };
        }
        reached = next;
    }
    reached[text.len()]
}

/// Reads, runs and judges one golden file.
pub fn run_file(context: &Context, path: &Path) -> CaseReport {
    let name = case_name(path);
    let failed = |module: &str, error: String| CaseReport {
        case: name.clone(),
        module: module.to_owned(),
        outcome: Outcome::Error,
        compared: Vec::new(),
        error: Some(error),
    };
    let case = match Golden::read(path) {
        Ok(case) => case,
        Err(e) => return failed("", e.to_string()),
    };
    let module = case.module.clone();
    // The runners trust the shapes that their modules' cases have; a file in which these do not fit together ends here.
    match catch_unwind(AssertUnwindSafe(|| run_case(context, &case))) {
        Ok(Ok(report)) => report,
        // What knows parameters alone does not know their file.
        Ok(Err(Error::Data(what) | Error::Config(what))) => failed(&module, Error::format(path, what).to_string()),
        Ok(Err(e)) => failed(&module, e.to_string()),
        Err(panic) => {
            let said = panic.downcast_ref::<String>().cloned().or(panic.downcast_ref::<&str>().map(|s| s.to_string()));
            let what = format!("its tensors do not fit module `{module}`: {}", said.unwrap_or_default());
            failed(&module, Error::format(path, what).to_string())
        }
    }
}

/// Runs and judges a case that was read.
pub fn run_case(context: &Context, case: &Golden) -> Result<CaseReport> {
    let name = format!("{}/{}", case.group, case.case);
    match RUNNERS.iter().find_map(|run| run(context, case)) {
        None => Ok(CaseReport { case: name, module: case.module.clone(), outcome: Outcome::Unknown, compared: Vec::new(), error: None }),
        Some(outputs) => {
            let compared = rules::compare(case, &outputs?)?;
            let half = context.choice.family == Some(Family::Cooperative);
            let compared = if half { rules::with_half_operands(case, compared)? } else { compared };
            Ok(CaseReport::judged(name, case.module.clone(), compared))
        }
    }
}
