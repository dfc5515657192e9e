// What the kernels of `evoformer/attention` share. DG and VG are the groups of a query's and of a value's channels.
override DG: u32 = 8u;
override VG: u32 = 8u;
override MASK: bool = true;
override BIAS: bool = true;
// Below every logit, a masked one (-1e9) too: a key that is not there.
const BEYOND = -1e30;

fn add(v: vec4<f32>) -> f32 { return (v.x + v.y) + (v.z + v.w); }
fn groups(n: u32) -> u32 { return (n + 3u) >> 2u; }
fn four_of(i: u32) -> vec4<u32> { return vec4<u32>(i, i + 1u, i + 2u, i + 3u); }
// Runs of rows have the biases in turn.
fn bias_of(b: u32) -> u32 { return (p.first + b) / p.run % p.biases; }
