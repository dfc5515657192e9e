//! The optimiser's part of the command lists, and its states in and out of checkpoints.
//!
//! `example` ends with [`after_example`]: the norm of the gradient, clipped, is added to the step's; `update` is [`update`]. All states are
//! shared by name between the lists of a session. Must not know the network.

use super::checkpoint::Checkpoint;
use crate::error::Result;
use crate::graph::run::Session;
use crate::graph::{Graph, Tensor};
use crate::ops::train::adam::Adam;
use crate::ops::train::clip_accumulate::ClipAccumulate;
use crate::ops::train::ema::Ema;
use crate::ops::train::norm::Norm;
use crate::ops::train::{CONTROL, Control, STATUS, Status};
use crate::tensor::HostTensor;

/// The states that a checkpoint holds: all that a step changes.
pub const STATES: [&str; 6] = ["parameters", "adam_m", "adam_v", "ema", "total", STATUS_STATE];

/// The state that says what happened; see [`Status`].
pub const STATUS_STATE: &str = "status";

/// Records what follows an example's backward sweep. `loss` is a scalar `[1]`; with `scaled` there is a state `factor` on the learning rate
/// of every element.
pub fn after_example(graph: &Graph, loss: Tensor<'_>, scaled: bool) {
    let (control, status) = steering(graph);
    let gradients = graph.gradients();
    let total = graph.state("total", &gradients.shape());
    let mut x = vec![control, status, loss, gradients];
    if scaled {
        x.push(graph.state("factor", &gradients.shape()));
    }
    graph.update(Norm { masked: scaled }, &x);
    graph.update(ClipAccumulate, &[status, gradients, total]);
}

/// Records the update, on a graph whose arena has as many elements as the examples' (`ops::graph(_, params.len())`).
pub fn update(graph: &Graph, scaled: bool) {
    let (control, status) = steering(graph);
    let parameters = graph.parameters();
    let n = parameters.shape();
    let [total, m, v, ema] = ["total", "adam_m", "adam_v", "ema"].map(|name| graph.state(name, &n));
    let mut x = vec![control, status, total, parameters, m, v];
    if scaled {
        x.push(graph.state("factor", &n));
    }
    graph.update(Adam { scaled }, &x);
    graph.update(Ema, &[control, status, parameters, ema]);
}

fn steering(graph: &Graph) -> (Tensor<'_>, Tensor<'_>) {
    (graph.state("control", &[CONTROL]), graph.state(STATUS_STATE, &[STATUS]))
}

/// A beginning: these parameters, which are the average as well, and zeros.
pub fn begin(session: &Session<'_>, parameters: &[f32]) {
    let put = |name: &str, data: Vec<f32>| session.set(name, &HostTensor::f32(&[data.len()], data));
    put("parameters", parameters.to_vec());
    put("ema", parameters.to_vec());
    ["adam_m", "adam_v", "total"].into_iter().for_each(|name| put(name, vec![0.0; parameters.len()]));
    put(STATUS_STATE, vec![0.0; STATUS]);
}

/// What the coming step is done with; to be called before its first example.
pub fn steer(session: &Session<'_>, control: &Control) {
    session.set("control", &HostTensor::f32(&[CONTROL], control.pack().to_vec()));
}

/// What happened; waits for the device.
pub fn status(session: &Session<'_>) -> Result<Status> {
    Ok(Status::unpack(session.get(STATUS_STATE)?.as_f32()))
}

/// All states, for a checkpoint between two steps.
pub fn states(session: &Session<'_>) -> Result<Vec<(&'static str, Vec<f32>)>> {
    Ok(STATES.into_iter().zip(session.get_all(&STATES)?.iter().map(HostTensor::to_f32)).collect())
}

/// Puts back what a checkpoint holds, of a model of `elements` elements.
pub fn restore(session: &Session<'_>, checkpoint: &Checkpoint, elements: usize) -> Result<()> {
    for name in STATES {
        let n = if name == STATUS_STATE { STATUS } else { elements };
        session.set(name, &HostTensor::f32(&[n], checkpoint.arena(name, n)?.to_vec()));
    }
    Ok(())
}
