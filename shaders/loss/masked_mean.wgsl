// loss = weight sum(m v) / (eps + sum(m)) over rows and columns, with m a mask of v's shape or m_i m_j of a vector.
#import bits
#import reduce
#storage values
#storage mask
#storage weight
#storage part
#storage loss
#storage factor
#storage dloss
#storage dvalues
struct Params { outer: u32, columns: u32, groups: u32, block: u32, blocks: u32, pair: u32, weighted: u32, eps: f32 }
@group(0) @binding(0) var<uniform> p: Params;

fn mask_at(i: u32, g: u32) -> vec4<f32> {
    if p.pair == 1u { return mask_ld(i) * mask_ld4(g) * lanes(g, p.columns); }
    return mask_ld4(i * p.groups + g) * lanes(g, p.columns);
}

// part[block] = (sum of m v, sum of m) over the rows of the block.
@compute @workgroup_size(64)
fn forward_part(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = grid(wg);
    var mine = vec2<f32>(0.0);
    for (var i = at.x * p.block; i < min((at.x + 1u) * p.block, p.outer); i++) {
        for (var g = lane; g < p.groups; g += 64u) {
            let m = mask_at(i, g);
            mine += vec2<f32>(dot(m, values_ld4(i * p.groups + g)), dot(m, vec4<f32>(1.0)));
        }
    }
    let sum = sum_of_group(lane, vec4<f32>(mine, 0.0, 0.0));
    if lane == 0u { part_st4(at.x, sum); }
}

// loss, and the factor weight / (eps + sum(m)) for the backward pass.
@compute @workgroup_size(64)
fn forward(@builtin(local_invocation_index) lane: u32) {
    var mine = vec2<f32>(0.0);
    for (var b = lane; b < p.blocks; b += 64u) { mine += part_ld4(b).xy; }
    let sum = sum_of_group(lane, vec4<f32>(mine, 0.0, 0.0));
    if lane == 0u {
        var w = 1.0;
        if p.weighted == 1u { w = weight_ld(0u); }
        let f = w / (p.eps + sum.y);
        loss_st4(0u, vec4<f32>(f * sum.x, 0.0, 0.0, 0.0));
        factor_st4(0u, vec4<f32>(f, 0.0, 0.0, 0.0));
    }
}

// dv = dloss factor m; neither mask nor weight has a gradient.
@compute @workgroup_size(64)
fn backward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = grid(wg);
    let g = at.x * 64u + lane;
    if g >= p.groups { return; }
    dvalues_st4(at.y * p.groups + g, dloss_ld(0u) * factor_ld(0u) * mask_at(at.y, g));
}
