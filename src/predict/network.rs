//! The network as a function of features: one command list for each shape, replayed for each pass. It tells what it needs before it takes it.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::gpu::program::Cache;
use crate::graph::Graph;
use crate::graph::run::{Planned, Session};
use crate::model::alphafold::PREVIOUS;
use crate::model::config::Config;
use crate::model::features::{Extents, member_name};
use crate::model::network::{Network, Pass};
use crate::ops;
use crate::predict::confidence::{self, aligned_errors, ca_change};
use crate::predict::estimate::{self, Estimate};
use crate::predict::feed::{BUCKET, cropped, extents, values};
use crate::predict::weights::Weights;
use crate::predict::{Binned, Cycle, Inputs, Raw, Request, Run};
use crate::protein::{Mask37, Positions37};
use crate::tensor::{DType, HostTensor};

/// The only command list.
const LIST: &str = "predict";
/// Plans of other shapes or models are kept as long as all of them take no more than this: models of one target follow each other.
const KEPT_BYTES: u64 = 2 << 30;

/// What a plan is made for.
#[derive(Debug, Clone, PartialEq)]
struct Key {
    config: Config,
    extents: Extents,
    members: usize,
    tensors: bool,
    distogram: bool,
}

/// A plan on the device.
#[derive(Debug)]
struct Ready<'a> {
    key: Key,
    network: Network,
    session: Session<'a>,
    /// The model whose parameters are in it.
    holds: String,
    /// Operations of a pass.
    flops: f64,
    /// Whether a pass has run.
    replayed: bool,
}

/// What is read back of every pass.
#[derive(Debug)]
struct Made {
    positions: Vec<Positions37>,
    /// Logits `[n_res, 50]`.
    plddt: HostTensor,
    pae: Option<Binned>,
}

/// Models on a device.
struct Predictor<'a> {
    gpu: &'a Gpu,
    cache: &'a Cache,
    storage: DType,
    weights: BTreeMap<String, Weights>,
    ready: Vec<Ready<'a>>,
    /// Operations a second, of the newest pass or of a measurement before the first.
    rate: Option<f64>,
}

/// The network with the parameters of some models, by the names that requests give them. `storage` is how activations are stored.
pub fn open<'a>(gpu: &'a Gpu, cache: &'a Cache, storage: DType, weights: BTreeMap<String, Weights>) -> Box<Run<'a>> {
    let mut predictor = Predictor { gpu, cache, storage, weights, ready: Vec::new(), rate: None };
    Box::new(move |inputs, request| predictor.run(inputs, request))
}

impl<'a> Predictor<'a> {
    /// Algorithm 2 Inference: all passes of one target with one model.
    fn run(&mut self, inputs: Inputs, request: &Request) -> Result<Raw> {
        let name = &request.model.name;
        let weights = self.weights.get(name).unwrap_or_else(|| panic!("no model `{name}` was opened"));
        let extents = extents(&inputs, &weights.config, &request.model.features)?;
        let key = Key {
            config: weights.config.clone(),
            extents,
            members: request.n_ensemble,
            tensors: request.tensors,
            distogram: request.distogram || request.tensors,
        };
        let at = match self.ready.iter().position(|r| r.key == key) {
            Some(at) => at,
            None => self.prepare(key, request)?,
        };
        let ready = &mut self.ready[at];
        if ready.holds != *name {
            ready.session.set_params(&self.weights[name].arena(&ready.network.params.borrow())?);
            ready.holds.clone_from(name);
        }
        PREVIOUS.iter().for_each(|state| ready.session.clear(state)); // line 2
        let mut before: Option<Made> = None;
        let mut history = Vec::new();
        let mut mask = Vec::new();
        for pass in 0..=request.n_recycle {
            (request.pass)(pass)?;
            let began = Instant::now();
            mask = ready.feed(&inputs, pass, request.n_res)?;
            ready.session.replay_list(LIST)?; // lines 3-22
            let made = ready.read(request.n_res)?;
            // Drivers compile at the first replay of a plan.
            if std::mem::replace(&mut ready.replayed, true) {
                self.rate = Some(ready.flops / began.elapsed().as_secs_f64().max(1e-6));
            }
            let cycle = ready.cycle(before.as_ref().map(|b| b.positions.as_slice()), &made, request.n_res);
            before = Some(made);
            history.push(cycle);
            if confidence::settled(cycle.change, request.tolerance) {
                break;
            }
        }
        let size = inputs_rows(&inputs);
        ready.raw(request, (before.expect("there is a pass"), mask), history, size)
    }

    /// Plans, says what the plan needs, and allocates it; other plans make room where memory is short.
    fn prepare(&mut self, key: Key, request: &Request) -> Result<usize> {
        if key.extents.n_res > self.bound(&key.config) {
            return Err(self.refused(Error::Memory("the pair representation alone would be too large".into()), &key));
        }
        let (network, graph) = record(&key, self.storage);
        let planned = self.plan(&graph).map_err(|e| self.refused(e, &key))?;
        let (bytes, flops) = (planned.plan.peak_bytes, planned.flops());
        if self.ready.iter().map(|r| r.session.plan.peak_bytes).sum::<u64>() + bytes > KEPT_BYTES {
            self.ready.clear();
        }
        let kept: u64 = self.ready.iter().map(|r| r.session.plan.peak_bytes).sum();
        if let Some(have) = available(self.gpu)
            && bytes > have
        {
            let what = format!("{} are needed and {} are free (and {} kept)", gib(bytes), gib(have), gib(kept));
            return Err(self.refused(Error::Memory(what), &key));
        }
        let rate = match self.rate {
            Some(rate) => rate,
            None => estimate::measure(self.gpu, self.cache, &key.config, self.storage, key.extents)?,
        };
        self.rate = Some(rate);
        (request.estimate)(&Estimate {
            model: request.model.name.clone(),
            n_res: request.n_res,
            extents: key.extents,
            bytes,
            flops,
            passes: request.n_recycle + 1,
            rate,
        });
        let session = Session::planned(self.gpu, self.cache, planned).map_err(|e| self.refused(e, &key))?;
        self.ready.push(Ready { key, network, session, holds: String::new(), flops, replayed: false });
        Ok(self.ready.len() - 1)
    }

    /// Residues of which not even the pair representation would fit: recording what a pass over more of them does would take minutes.
    fn bound(&self, config: &Config) -> usize {
        let elements = available(self.gpu).map_or(u64::MAX, |have| have / self.storage.size() as u64).min(u64::from(u32::MAX));
        (elements as f64 / config.c_z as f64).sqrt() as usize
    }

    /// Plans a recording, unless a tensor of it has more elements than shaders can count.
    fn plan(&self, graph: &Graph) -> Result<Planned> {
        match graph.largest() {
            n if n > u32::MAX as usize => Err(Error::Memory(format!("one tensor would have {n} elements, more than 32 bits count"))),
            _ => Planned::new(self.gpu, &[(LIST, graph)]),
        }
    }

    /// What does not fit, with what would. Other failures are passed on.
    fn refused(&self, error: Error, key: &Key) -> Error {
        let Error::Memory(what) = error else { return error };
        let have = available(self.gpu).unwrap_or(u64::MAX);
        let fits = |n_res: usize| {
            let smaller = Key { extents: Extents { n_res, ..key.extents }, ..key.clone() };
            let graph = record(&smaller, self.storage).1;
            // A hardware adapter does not say how much is free: it is asked for all of it, and gives it back.
            let given = |p: &Planned| {
                self.gpu.traits.cpu || p.plan.arenas.iter().map(|&b| self.gpu.buffer("probe", b, false)).collect::<Result<Vec<_>>>().is_ok()
            };
            self.plan(&graph).is_ok_and(|p| p.plan.peak_bytes <= have && given(&p))
        };
        // Between a length that fits and one that does not, in buckets.
        let (mut good, mut bad) = (0, (key.extents.n_res / BUCKET).min(self.bound(&key.config) / BUCKET + 1));
        while bad - good > 1 {
            let middle = (good + bad) / 2;
            if fits(middle * BUCKET) { good = middle } else { bad = middle }
        }
        let length = match good {
            0 => "no length fits with so many rows".to_owned(),
            n => format!("{} residues would fit", n * BUCKET),
        };
        let e = key.extents;
        Error::Memory(format!(
            "{} residues with {} cluster rows and {} extra rows do not fit on {}: {what}; {length}; fewer rows (--max-msa 128:256) or --storage \
             bf16 need less",
            e.n_res, e.n_clust, e.n_extra, self.gpu.info.name
        ))
    }
}

/// Records the passes' list.
fn record(key: &Key, storage: DType) -> (Network, Graph) {
    let network = Network::new(key.config.clone(), storage);
    let graph = ops::graph(storage, 0);
    let pass = network.recycling_pass(&graph, key.extents, key.members, None);
    outputs(&graph, &pass, key);
    (network, graph)
}

/// Names what is read back, by AlphaFold's names.
fn outputs(graph: &Graph, pass: &Pass, key: &Key) {
    let p = &pass.prediction;
    graph.output("structure_module/final_atom_positions", p.structure.atom37_positions);
    graph.output("predicted_lddt/logits", p.plddt);
    if let Some(pae) = p.pae {
        graph.output("predicted_aligned_error/logits", pae);
    }
    if key.distogram {
        graph.output("distogram/logits", p.distogram);
    }
    if key.tensors {
        let r = &p.representations;
        graph.output("experimentally_resolved/logits", p.experimentally_resolved);
        graph.output("masked_msa/logits", p.masked_msa);
        graph.output("representations/msa", r.msa);
        graph.output("representations/msa_first_row", r.msa_first_row);
        graph.output("representations/pair", r.pair);
        graph.output("representations/single", r.single);
        graph.output("representations/structure_module", p.structure.s);
    }
}

/// Cluster rows of the inputs, without padding to a plan's.
fn inputs_rows(inputs: &Inputs) -> usize {
    match inputs {
        Inputs::Features(f) => f.n_clust(),
        Inputs::Arrays(arrays) => arrays["msa_feat"].shape[1],
    }
}

impl Ready<'_> {
    /// Sets the inputs of a pass; gives the atoms that its residues have.
    fn feed(&self, inputs: &Inputs, pass: usize, n_res: usize) -> Result<Vec<Mask37>> {
        let mut mask = Vec::new();
        for member in 0..self.key.members {
            let all = values(inputs.pass(pass * self.key.members + member), self.key.extents)?;
            if member == 0 {
                mask = all["atom37_atom_exists"].as_f32().chunks_exact(37).take(n_res).map(|m| std::array::from_fn(|a| m[a])).collect();
            }
            for (name, value) in &all {
                let name = member_name(name, member);
                if self.session.takes(&name) {
                    self.session.set(&name, value);
                }
            }
        }
        Ok(mask)
    }

    /// What is read back of every pass, without padding.
    fn read(&self, n_res: usize) -> Result<Made> {
        let heads = &self.key.config.heads;
        let mut names = vec!["structure_module/final_atom_positions", "predicted_lddt/logits"];
        names.extend(heads.pae.is_some().then_some("predicted_aligned_error/logits"));
        let all = self.session.get_all(&names)?;
        let residue = |flat: &[f32]| std::array::from_fn(|a| std::array::from_fn(|x| flat[3 * a + x]));
        let pae = heads
            .pae
            .as_ref()
            .map(|c| Binned { logits: cropped(&all[2], &[n_res, n_res, c.bins]), breaks: breaks([0.0, c.last_edge], c.bins) });
        Ok(Made {
            positions: all[0].as_f32().chunks_exact(111).take(n_res).map(residue).collect(),
            plddt: cropped(&all[1], &[n_res, heads.plddt_bins]),
            pae,
        })
    }

    /// What the history keeps of the pass that has just run.
    fn cycle(&self, before: Option<&[Positions37]>, now: &Made, n_res: usize) -> Cycle {
        let plddt = confidence::plddt(now.plddt.as_f32(), self.key.config.heads.plddt_bins);
        let ptm = now.pae.as_ref().map(|p| aligned_errors(p.logits.as_f32(), &p.breaks, n_res).ptm);
        let mean = plddt.iter().sum::<f64>() / n_res as f64;
        Cycle { plddt: Some(mean), ptm, change: before.map(|b| ca_change(b, &now.positions)) }
    }

    /// What the last pass made, without padding.
    fn raw(&self, request: &Request, (made, mask): (Made, Vec<Mask37>), history: Vec<Cycle>, n_clust: usize) -> Result<Raw> {
        let (n, c) = (request.n_res, &self.key.config);
        let mut raw = Raw {
            positions: made.positions,
            mask,
            plddt_logits: made.plddt,
            pae: made.pae,
            distogram: None,
            representations: BTreeMap::new(),
            history,
        };
        let h = &c.heads;
        if self.key.distogram {
            let logits = cropped(&self.session.get("distogram/logits")?, &[n, n, h.distogram_bins]);
            raw.distogram = Some(Binned { logits, breaks: breaks(h.distogram_edges, h.distogram_bins) });
        }
        if request.tensors {
            let wanted: [(&str, &[usize]); 7] = [
                ("experimentally_resolved/logits", &[n, 37]),
                ("masked_msa/logits", &[n_clust, n, h.masked_msa_classes]),
                ("representations/msa", &[n_clust, n, c.c_m]),
                ("representations/msa_first_row", &[n, c.c_m]),
                ("representations/pair", &[n, n, c.c_z]),
                ("representations/single", &[n, c.c_s]),
                ("representations/structure_module", &[n, c.structure.channels]),
            ];
            for ((name, shape), read) in wanted.iter().zip(self.session.get_all(&wanted.map(|w| w.0))?) {
                raw.representations.insert((*name).into(), cropped(&read, shape));
            }
        }
        Ok(raw)
    }
}

/// The borders between bins of equal width, of which the first and the last are given.
fn breaks([first, last]: [f32; 2], bins: usize) -> Vec<f32> {
    let (first, last) = (f64::from(first), f64::from(last));
    (0..bins - 1).map(|i| (first + (last - first) * i as f64 / (bins - 2) as f64) as f32).collect()
}

/// Bytes that may be taken, where that can be known: a software adapter takes the system's memory, and hardware says only when it is short.
fn available(gpu: &Gpu) -> Option<u64> {
    if !gpu.traits.cpu {
        return None;
    }
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix("MemAvailable:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

fn gib(bytes: u64) -> String {
    format!("{:.2} GiB", bytes as f64 / (1u64 << 30) as f64)
}
