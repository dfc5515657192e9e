// Statistics of rows of up to 128 channels on CPUs: a lane a row, so that nothing is summed across lanes. `basic/layer_norm/subgroup` and
// `basic/gemm/subgroup_norm` share them, so that no bit depends on what is joined. `row_ld4` loads groups of the rows.
override GROUPS: u32 = 32u;
#repeat i 32
var<private> v$i: vec4<f32>;
#end
// Mean and 1 / std, biased variance in two passes; the row without its mean stays in v0, v1, ...
fn narrow_stats(base: u32, width: u32, eps: f32) -> vec2<f32> {
    var sum = vec4<f32>(0.0);
#repeat i 32
    if $iu < GROUPS {
        v$i = row_ld4(base + $iu);
        sum += v$i;
    }
#end
    let mean = ((sum.x + sum.y) + (sum.z + sum.w)) / f32(width);
    var square = vec4<f32>(0.0);
#repeat i 32
    if $iu < GROUPS {
        v$i -= mean;
        // Chosen, not multiplied: compilers may add products of one factor in another order.
        if $iu + 1u == GROUPS { v$i = select(vec4<f32>(0.0), v$i, lanes($iu, width) > vec4<f32>(0.0)); }
        square += v$i * v$i;
    }
#end
    return vec2<f32>(mean, 1.0 / sqrt(((square.x + square.y) + (square.z + square.w)) / f32(width) + eps));
}
