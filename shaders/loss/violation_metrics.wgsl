// total_i = max(bond_i, max_a clash_ia, max_a within_ia), and the means over the residues that the mask names
#import reduce
#storage bond
#storage clash
#storage within
#storage seq_mask
#storage total
#storage shares
struct Params { rows: u32 }
@group(0) @binding(0) var<uniform> p: Params;

fn largest(v: vec4<f32>) -> f32 { return max(max(v.x, v.y), max(v.z, v.w)); }

// One workgroup; a lane owns groups of four residues.
@compute @workgroup_size(64)
fn forward(@builtin(local_invocation_index) lane: u32) {
    var sums = vec4<f32>(0.0);
    var count = 0.0;
    for (var g = lane; g * 4u < p.rows; g += 64u) {
        var any_of = vec4<f32>(0.0);
        for (var k = 0u; k < 4u; k++) {
            let i = g * 4u + k;
            if i >= p.rows { break; }
            let o = i * 4u;
            let c = largest(max(max(clash_ld4(o), clash_ld4(o + 1u)), max(clash_ld4(o + 2u), clash_ld4(o + 3u))));
            let w = largest(max(max(within_ld4(o), within_ld4(o + 1u)), max(within_ld4(o + 2u), within_ld4(o + 3u))));
            let b = bond_ld(i);
            any_of[k] = max(b, max(c, w));
            sums += seq_mask_ld(i) * vec4<f32>(b, c, w, any_of[k]);
            count += seq_mask_ld(i);
        }
        total_st4(g, any_of);
    }
    sums = sum_of_group(lane, sums);
    count = sum_of_group(lane, vec4<f32>(count)).x + 1e-10;
    if lane == 0u {
        for (var k = 0u; k < 4u; k++) { shares_st4(k, vec4<f32>(sums[k] / count, 0.0, 0.0, 0.0)); }
    }
}
