// Statistics of rows of up to 128 channels on CPUs: a lane a row, so that nothing is summed across lanes. `basic/layer_norm/subgroup` and
// `basic/gemm/subgroup_norm` share them, so that no bit depends on what is joined. `row_ld4` loads groups of the rows. Every eighth group is
// added to one sum, and then the eight in order: short sums round less than one long one.
override GROUPS: u32 = 32u;
#repeat i 4
#repeat e 8
var<private> v$i_$e: vec4<f32>;
#end
#end
fn of_four(v: vec4<f32>) -> f32 { return (v.x + v.y) + (v.z + v.w); }
// Mean and 1 / std, biased variance in two passes; the row without its mean stays in v0_0, v0_1, .. v1_0, ...
fn narrow_stats(base: u32, width: u32, eps: f32) -> vec2<f32> {
    var sum = 0.0;
#repeat e 8
    var sum$e = vec4<f32>(0.0);
#repeat i 4
    if $iu * 8u + $eu < GROUPS {
        v$i_$e = row_ld4(base + $iu * 8u + $eu);
        sum$e += v$i_$e;
    }
#end
    sum += of_four(sum$e);
#end
    let mean = sum / f32(width);
    var square = 0.0;
#repeat e 8
    var square$e = vec4<f32>(0.0);
#repeat i 4
    if $iu * 8u + $eu < GROUPS {
        v$i_$e -= mean;
        // Chosen, not multiplied: compilers may add products of one factor in another order.
        if $iu * 8u + $eu + 1u == GROUPS { v$i_$e = select(vec4<f32>(0.0), v$i_$e, lanes($iu * 8u + $eu, width) > vec4<f32>(0.0)); }
        square$e += v$i_$e * v$i_$e;
    }
#end
    square += of_four(square$e);
#end
    return vec2<f32>(mean, 1.0 / sqrt(square / f32(width) + eps));
}
