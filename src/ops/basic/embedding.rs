//! Rows of a table chosen by integers: a linear map of a one-hot vector that is never made. With [`Embedding::relative`] the rows are
//! those of relative positions (Algorithm 4 relpos).

use std::ops::Range;

use crate::gpu::recorder::{Cut, Launch, cut};
use crate::gpu::shader::{Scalar, Source, UniformData};
use crate::gpu::view::{LANES, padded};
use crate::gpu::{Recorder, View};
use crate::op::{Array, Backward, Needs, Op, Spec};
use crate::tensor::DType;

/// Places that one partial sum of the table's gradient covers, about: fixed, so that neither windows nor devices change a bit.
const BLOCK: usize = 512;
/// Columns that a workgroup of the forward pass makes.
const COLUMNS: usize = 16;

fn source() -> &'static Source {
    shader!("basic/embedding")
}

/// `index [..] i32, w [k, c]` and, where there is a bias, `b [c]`, to `y [.., c] = w[index] + b`. An index that is not in `0..k` gives the
/// bias alone, as a one-hot vector of zeros would.
#[derive(Debug, Clone, Copy)]
pub struct Embedding {
    /// Whether there is a third input.
    pub bias: bool,
    /// For relative positions their reach `r`: `index [n]` gives `y [n, n, c]` with the row `clip(index_i - index_j + r, 0, 2r)`.
    pub relative: Option<usize>,
}

/// The shape of the places as outer rows and columns, and of the blocks that they are summed in.
#[derive(Debug, Clone, Copy)]
struct Places {
    outer: usize,
    columns: usize,
    block_o: usize,
    block_j: usize,
}

impl Places {
    fn of(y: &View) -> Self {
        let n = y.shape.len();
        let columns = y.shape[n - 2];
        let outer = y.shape[..n - 2].iter().product();
        Self { outer, columns, block_o: (BLOCK / columns).max(1), block_j: BLOCK.min(columns) }
    }

    fn blocks(&self) -> [usize; 2] {
        [self.outer.div_ceil(self.block_o), self.columns.div_ceil(self.block_j)]
    }
}

/// `y` or its gradient as `[outer, columns, c]`.
fn three(y: &View, places: Places) -> View {
    y.reshape(&[places.outer, places.columns, y.width()])
}

/// What a launch covers: outer rows, columns, and whether it goes on from an earlier one.
struct Part {
    o: Range<usize>,
    j: Range<usize>,
    chain: bool,
}

impl Embedding {
    fn uniform(&self, table: usize, y: &View, places: Places, part: &Part, blocks: [usize; 2]) -> UniformData {
        UniformData::of(&[
            ("table", table.into()),
            ("groups", y.groups().into()),
            ("width", y.width().into()),
            ("outer", part.o.len().into()),
            ("columns", part.j.len().into()),
            ("pitch", padded(places.columns).into()),
            ("relative", u32::from(self.relative.is_some()).into()),
            ("reach", Scalar::I32(self.relative.unwrap_or(0) as i32)),
            ("bias", u32::from(self.bias).into()),
            ("o0", part.o.start.into()),
            ("j0", part.j.start.into()),
            ("dy_pitch", (places.columns * y.groups()).into()),
            ("block_o", places.block_o.into()),
            ("block_j", places.block_j.into()),
            ("blocks_j", blocks[1].into()),
            ("blocks", (blocks[0] * blocks[1]).into()),
            ("chain", u32::from(part.chain).into()),
        ])
    }

    /// The index as the kernel reads it, and how it follows the grid: relative positions may need any element.
    fn index(&self, index: &View, places: Places, cuts: &[Cut]) -> (View, Vec<Cut>) {
        match self.relative {
            Some(_) => (index.clone(), Vec::new()),
            None => (index.reshape(&[places.outer, places.columns]), cuts.to_vec()),
        }
    }

    /// Partial sums of each block. Where a binding cannot hold a block's gradient, launches follow one another, each going on from what
    /// the last one stored: the order of addition is the same.
    fn partial_sums(&self, r: &mut Recorder, b: &Backward, places: Places, sums: &View) {
        let dy = three(b.dy0(), places);
        let table = b.x[1].shape[0];
        let blocks = places.blocks();
        let cuts = [cut(0, 0, places.block_o), cut(1, 1, places.block_j)];
        let (index, index_cuts) = self.index(&b.x[0], places, &cuts);
        let limit = (r.traits.max_binding as usize).saturating_sub(1024);
        let mut record = |part: Part, block: [Range<usize>; 2]| {
            let [no, nj] = [block[0].len(), block[1].len()];
            let index = match self.relative {
                Some(_) => index.clone(),
                None => index.slice(0, part.o.clone()).slice(1, part.j.clone()),
            };
            let sums = sums.slice(0, block[0].clone()).slice(1, block[1].start * (table + 1)..block[1].end * (table + 1));
            let uniform = self.uniform(table, &dy, places, &part, [no, nj]);
            let flops = (2 * part.o.len() * part.j.len() * dy.width()) as f64;
            r.launch(
                Launch::new(source(), "backward_part", uniform, [no, nj, dy.groups().div_ceil(64)])
                    .read("index", &index, &index_cuts)
                    .read("dy", &dy.slice(0, part.o).slice(1, part.j), &cuts)
                    .write("part", &sums, &[cut(0, 0, 1), cut(1, 1, table + 1)])
                    .flops(flops),
            );
        };
        let row_bytes = dy.groups() * LANES * dy.dtype.size();
        if places.block_o * places.block_j * row_bytes <= limit {
            return record(Part { o: 0..places.outer, j: 0..places.columns, chain: false }, [0..blocks[0], 0..blocks[1]]);
        }
        let fit = (limit / row_bytes / LANES * LANES).max(LANES);
        for (block_o, block_j) in (0..blocks[0]).flat_map(|o| (0..blocks[1]).map(move |j| (o, j))) {
            let end = |start: usize, size: usize, n: usize| (start + size).min(n);
            let (o_first, j_first) = (block_o * places.block_o, block_j * places.block_j);
            let mut chain = false;
            for o in o_first..end(o_first, places.block_o, places.outer) {
                let j_end = end(j_first, places.block_j, places.columns);
                for j in (j_first..j_end).step_by(fit) {
                    record(Part { o: o..o + 1, j: j..end(j, fit, j_end), chain }, [block_o..block_o + 1, block_j..block_j + 1]);
                    chain = true;
                }
            }
        }
    }
}

impl Op for Embedding {
    fn name(&self) -> &'static str {
        "embedding"
    }

    fn shapes(&self, x: &[&[usize]]) -> Vec<Spec> {
        let fits = x.len() == 2 + usize::from(self.bias) && x[1].len() == 2 && (!self.bias || x[2] == [x[1][1]]);
        assert!(fits, "embedding of {x:?}: w is [k, c], b [c]");
        let c = x[1][1];
        match (self.relative, x[0]) {
            (None, outer) => vec![Spec::of(&[outer, &[c]].concat())],
            (Some(reach), &[n]) if x[1][0] == 2 * reach + 1 => vec![Spec::of(&[n, n, c])],
            (Some(reach), _) => panic!("relative positions up to {reach} of {x:?}: index is [n], w [{}, c]", 2 * reach + 1),
        }
    }

    fn differentiable(&self, i: usize) -> bool {
        i > 0
    }

    fn needs(&self) -> Needs {
        Needs { x: 0b1, y: 0 }
    }

    fn forward(&self, r: &mut Recorder, x: &[View], y: &[View]) {
        let places = Places::of(&y[0]);
        let y = three(&y[0], places);
        let cuts = [cut(1, 0, 1), cut(0, 1, COLUMNS)];
        let (index, index_cuts) = self.index(&x[0], places, &cuts);
        let whole = Part { o: 0..places.outer, j: 0..places.columns, chain: false };
        let uniform = self.uniform(x[1].shape[0], &y, places, &whole, places.blocks());
        // Without a bias the binding still names memory that is there: the table.
        let bias = if self.bias { &x[2] } else { &x[1] };
        r.launch(
            Launch::new(source(), "forward", uniform, [places.columns.div_ceil(COLUMNS), places.outer, 1])
                .read("index", &index, &index_cuts)
                .read("w", &x[1], &[])
                .read("b", bias, &[])
                .write("y", &y, &cuts)
                .flops(y.len() as f64),
        );
    }

    fn backward(&self, r: &mut Recorder, b: &Backward) {
        if b.dx[1..].iter().all(Option::is_none) {
            return;
        }
        let places = Places::of(b.dy0());
        let (table, c) = (b.x[1].shape[0], b.x[1].width());
        let [blocks_o, blocks_j] = places.blocks();
        let sums = r.temp(&[blocks_o, blocks_j * (table + 1), c], DType::F32);
        self.partial_sums(r, b, places, &sums);
        let blocks = blocks_o * blocks_j;
        let sums = sums.reshape(&[blocks, table + 1, c]);
        let groups = sums.groups();
        let limit = (r.traits.max_binding as usize).saturating_sub(1024);
        let fit = (limit / ((table + 1) * groups * 16)).max(1);
        for from in (0..blocks).step_by(fit) {
            let some = sums.slice(0, from..(from + fit).min(blocks));
            let part = Part { o: 0..0, j: 0..0, chain: from > 0 };
            let uniform = self.uniform(table, &sums, places, &part, [some.shape[0], 1]);
            if let Some(dw) = &b.dx[1] {
                let groups = [(table * groups).div_ceil(64), 1, 1];
                r.launch(Launch::new(source(), "backward_w", uniform.clone(), groups).read("part", &some, &[]).write("dw", dw, &[]));
            }
            if let Some(db) = b.dx.get(2).and_then(Option::as_ref) {
                let groups = [groups.div_ceil(64), 1, 1];
                r.launch(Launch::new(source(), "backward_b", uniform, groups).read("part", &some, &[]).write("db", db, &[]));
            }
        }
    }

    fn reference(&self, x: &[Array]) -> Vec<Array> {
        let c = x[1].width();
        let index = &x[0].data;
        let rows: Vec<f64> = match self.relative {
            None => index.clone(),
            Some(reach) => {
                let r = reach as f64;
                index.iter().flat_map(|i| index.iter().map(move |j| (i - j + r).clamp(0.0, 2.0 * r))).collect()
            }
        };
        let mut y = Vec::new();
        for row in rows {
            let known = row >= 0.0 && row < x[1].shape[0] as f64;
            let bias = |f: usize| if self.bias { x[2].data[f] } else { 0.0 };
            y.extend((0..c).map(|f| if known { x[1].data[row as usize * c + f] } else { 0.0 } + bias(f)));
        }
        vec![Array::new(&self.shapes(&x.iter().map(|a| a.shape.as_slice()).collect::<Vec<_>>())[0].shape, y)]
    }
}
