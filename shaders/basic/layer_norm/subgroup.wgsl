// Layer normalisation for CPUs: a subgroup of eight lanes a row, and no barriers. `basic/layer_norm` sums the parameters' gradients.
enable subgroups;
#import bits
#storage x
#storage scale
#storage offset
#storage y
#storage stats
#storage dy
#storage dx
#import layer_norm

fn sum8(lane: u32, v: f32) -> f32 { return subgroupAdd(v); }

@compute @workgroup_size(8)
fn forward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) { normalise(grid(wg).x, lane, lane); }

@compute @workgroup_size(8)
fn backward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) { gradient(grid(wg).x, lane, lane); }
