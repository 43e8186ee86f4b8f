import CSystem
import DimKernelTypes
import DimKernelsAVX2
import DimKernelsAVX512
import DimKernelsBFloat16
import DimKernelsBaseline
import DimRuntime

@_exported import struct DimKernelTypes.AdamStep
@_exported import struct DimKernelTypes.MatrixSum
@_exported import struct DimKernelTypes.Exponent
@_exported import struct DimKernelTypes.Gemm
@_exported import struct DimKernelTypes.GemmNT
@_exported import struct DimKernelTypes.LayerNormRows
@_exported import struct DimKernelTypes.PairedRows
@_exported import struct DimKernelTypes.PatchRows
@_exported import struct DimKernelTypes.PoolMap
@_exported import struct DimKernelTypes.WinogradKernels
@_exported import struct DimKernelTypes.WinogradOutput
@_exported import struct DimKernelTypes.WinogradTaps
@_exported import struct DimKernelTypes.WinogradTiles
@_exported import struct DimKernelTypes.WinogradWeightGradient
@_exported import struct DimKernelTypes.WinogradWeights
@_exported import struct DimKernelTypes.WinogradWindows

/// The kernels of one instruction set. A new kernel is one line here and one in each table below; dispatch, tests and
/// benchmarks go over the tables.
package struct KernelTable: @unchecked Sendable {
    /// As `DIM_ISA` names it.
    package let name: String
    /// Columns that a product of many rows computes at once: those of one panel or of two.
    package let columnsAtOnce: Int
    package let gemm: (Gemm) -> Void
    package let gemmNT: (GemmNT) -> Void
    package let addMatrices: (MatrixSum) -> Void
    /// The transforms of F(m x m, r x r), nil where there are none.
    package let winograd: (_ m: Int, _ r: Int) -> WinogradKernels?
    /// Products of bfloat16, nil where they are no instruction.
    package let bfloat16: BFloat16Kernels?

    // What follows is described where it is written, in DimKernels/Sources.
    package typealias In = UnsafePointer<Float>
    package typealias Out = UnsafeMutablePointer<Float>
    package typealias Sums = UnsafeMutablePointer<Double>
    package let sumPixels: (In, _ pixels: Int, _ sums: Out) -> Void
    package let planeStatistics: (In, _ pixels: Int, _ pivot: In, Sums) -> Void
    package let affineReluPlane: (In, _ pixels: Int, _ scale: In, _ shift: In, Out) -> Void
    package let batchNormGradientSums:
        (In, _ gradient: In, _ pixels: Int, _ scale: In, _ shift: In, _ mean: In, Sums) -> Void
    package let batchNormGradient:
        (In, _ gradient: Out, _ pixels: Int, _ scale: In, _ shift: In, _ mean: In, _ a: In, _ b: In, _ c: In) -> Void
    package let reluGradient: (_ output: In, _ gradient: Out, _ count: Int) -> Void
    package let addRelu: (In, In, Out, _ count: Int) -> Void
    package let add: (In, Out, _ count: Int) -> Void
    package let reluOuterGradient: (Out, _ factor: Float, In, _ count: Int) -> Void
    package let addColumnSums: (In, _ rows: Int, _ stride: Int, _ columns: Int, Out) -> Void
    package let allFinite: (In, _ count: Int) -> Bool
    package let squaresFinite: (In, _ count: Int) -> Bool
    package let adam: (_ w: In, _ gradient: In, _ m: Out, _ v: Out, _ new: Out, _ count: Int, AdamStep) -> Void
    package let gatherPatches: (PatchRows) -> Void
    package let scatterPatches: (PatchRows) -> Void
    package let copyVectors: (In, _ sourceStep: Int, Out, _ step: Int, _ count: Int, _ vectors: Int) -> Void
    package let maxPool: (PoolMap) -> Void
    package let maxPoolGradient: (PoolMap) -> Void
    package let averagePool: (PoolMap) -> Void
    package let averagePoolGradient: (PoolMap) -> Void
    package let reluInPlace: (Out, _ count: Int) -> Void
    package let multiply: (In, Out, _ count: Int) -> Void
    package let affinePlane: (In, _ rows: Int, _ scale: In, _ shift: In, _ relu: Bool, Out) -> Void
    package let sigmoid: (Out, _ count: Int) -> Void
    package let sigmoidGradient: (In, _ gradient: Out, _ count: Int) -> Void
    package let addRowSums: (In, _ rows: Int, Sums) -> Void
    package let layerNorm: (LayerNormRows) -> Void
    package let layerNormGradient: (LayerNormRows) -> Void
    package let layerNormGradientSums: (In, _ dy: In, _ rows: Int, _ statistics: In, Sums) -> Void
    package let largest: (In, _ count: Int, _ sign: Float) -> Float
    package let total: (In, _ count: Int) -> Double
    package let exponentials: (In, _ count: Int, Exponent, Out?) -> Double
    package let softplus: (In, _ count: Int, Exponent, Out?) -> Double

    private static let baseline = KernelTable(
        name: "baseline",
        columnsAtOnce: 32,
        gemm: DimKernelsBaseline.gemm,
        gemmNT: DimKernelsBaseline.gemmNT,
        addMatrices: DimKernelsBaseline.addMatrices,
        winograd: DimKernelsBaseline.winogradKernels,
        bfloat16: nil,
        sumPixels: DimKernelsBaseline.sumPixels,
        planeStatistics: DimKernelsBaseline.planeStatistics,
        affineReluPlane: DimKernelsBaseline.affineReluPlane,
        batchNormGradientSums: DimKernelsBaseline.batchNormGradientSums,
        batchNormGradient: DimKernelsBaseline.batchNormGradient,
        reluGradient: DimKernelsBaseline.reluGradient,
        addRelu: DimKernelsBaseline.addRelu,
        add: DimKernelsBaseline.add,
        reluOuterGradient: DimKernelsBaseline.reluOuterGradient,
        addColumnSums: DimKernelsBaseline.addColumnSums,
        allFinite: DimKernelsBaseline.allFinite,
        squaresFinite: DimKernelsBaseline.squaresFinite,
        adam: DimKernelsBaseline.adam,
        gatherPatches: DimKernelsBaseline.gatherPatches,
        scatterPatches: DimKernelsBaseline.scatterPatches,
        copyVectors: DimKernelsBaseline.copyVectors,
        maxPool: DimKernelsBaseline.maxPool,
        maxPoolGradient: DimKernelsBaseline.maxPoolGradient,
        averagePool: DimKernelsBaseline.averagePool,
        averagePoolGradient: DimKernelsBaseline.averagePoolGradient,
        reluInPlace: DimKernelsBaseline.reluInPlace,
        multiply: DimKernelsBaseline.multiply,
        affinePlane: DimKernelsBaseline.affinePlane,
        sigmoid: DimKernelsBaseline.sigmoid,
        sigmoidGradient: DimKernelsBaseline.sigmoidGradient,
        addRowSums: DimKernelsBaseline.addRowSums,
        layerNorm: DimKernelsBaseline.layerNorm,
        layerNormGradient: DimKernelsBaseline.layerNormGradient,
        layerNormGradientSums: DimKernelsBaseline.layerNormGradientSums,
        largest: DimKernelsBaseline.largest,
        total: DimKernelsBaseline.total,
        exponentials: DimKernelsBaseline.exponentials,
        softplus: DimKernelsBaseline.softplus)

    private static let avx2 = KernelTable(
        name: "avx2",
        columnsAtOnce: 32,
        gemm: DimKernelsAVX2.gemm,
        gemmNT: DimKernelsAVX2.gemmNT,
        addMatrices: DimKernelsAVX2.addMatrices,
        winograd: DimKernelsAVX2.winogradKernels,
        bfloat16: nil,
        sumPixels: DimKernelsAVX2.sumPixels,
        planeStatistics: DimKernelsAVX2.planeStatistics,
        affineReluPlane: DimKernelsAVX2.affineReluPlane,
        batchNormGradientSums: DimKernelsAVX2.batchNormGradientSums,
        batchNormGradient: DimKernelsAVX2.batchNormGradient,
        reluGradient: DimKernelsAVX2.reluGradient,
        addRelu: DimKernelsAVX2.addRelu,
        add: DimKernelsAVX2.add,
        reluOuterGradient: DimKernelsAVX2.reluOuterGradient,
        addColumnSums: DimKernelsAVX2.addColumnSums,
        allFinite: DimKernelsAVX2.allFinite,
        squaresFinite: DimKernelsAVX2.squaresFinite,
        adam: DimKernelsAVX2.adam,
        gatherPatches: DimKernelsAVX2.gatherPatches,
        scatterPatches: DimKernelsAVX2.scatterPatches,
        copyVectors: DimKernelsAVX2.copyVectors,
        maxPool: DimKernelsAVX2.maxPool,
        maxPoolGradient: DimKernelsAVX2.maxPoolGradient,
        averagePool: DimKernelsAVX2.averagePool,
        averagePoolGradient: DimKernelsAVX2.averagePoolGradient,
        reluInPlace: DimKernelsAVX2.reluInPlace,
        multiply: DimKernelsAVX2.multiply,
        affinePlane: DimKernelsAVX2.affinePlane,
        sigmoid: DimKernelsAVX2.sigmoid,
        sigmoidGradient: DimKernelsAVX2.sigmoidGradient,
        addRowSums: DimKernelsAVX2.addRowSums,
        layerNorm: DimKernelsAVX2.layerNorm,
        layerNormGradient: DimKernelsAVX2.layerNormGradient,
        layerNormGradientSums: DimKernelsAVX2.layerNormGradientSums,
        largest: DimKernelsAVX2.largest,
        total: DimKernelsAVX2.total,
        exponentials: DimKernelsAVX2.exponentials,
        softplus: DimKernelsAVX2.softplus)

    private static let avx512 = KernelTable(
        name: "avx512",
        columnsAtOnce: 64,
        gemm: DimKernelsAVX512.gemm,
        gemmNT: DimKernelsAVX512.gemmNT,
        addMatrices: DimKernelsAVX512.addMatrices,
        winograd: DimKernelsAVX512.winogradKernels,
        bfloat16: BFloat16Kernels.supported,
        sumPixels: DimKernelsAVX512.sumPixels,
        planeStatistics: DimKernelsAVX512.planeStatistics,
        affineReluPlane: DimKernelsAVX512.affineReluPlane,
        batchNormGradientSums: DimKernelsAVX512.batchNormGradientSums,
        batchNormGradient: DimKernelsAVX512.batchNormGradient,
        reluGradient: DimKernelsAVX512.reluGradient,
        addRelu: DimKernelsAVX512.addRelu,
        add: DimKernelsAVX512.add,
        reluOuterGradient: DimKernelsAVX512.reluOuterGradient,
        addColumnSums: DimKernelsAVX512.addColumnSums,
        allFinite: DimKernelsAVX512.allFinite,
        squaresFinite: DimKernelsAVX512.squaresFinite,
        adam: DimKernelsAVX512.adam,
        gatherPatches: DimKernelsAVX512.gatherPatches,
        scatterPatches: DimKernelsAVX512.scatterPatches,
        copyVectors: DimKernelsAVX512.copyVectors,
        maxPool: DimKernelsAVX512.maxPool,
        maxPoolGradient: DimKernelsAVX512.maxPoolGradient,
        averagePool: DimKernelsAVX512.averagePool,
        averagePoolGradient: DimKernelsAVX512.averagePoolGradient,
        reluInPlace: DimKernelsAVX512.reluInPlace,
        multiply: DimKernelsAVX512.multiply,
        affinePlane: DimKernelsAVX512.affinePlane,
        sigmoid: DimKernelsAVX512.sigmoid,
        sigmoidGradient: DimKernelsAVX512.sigmoidGradient,
        addRowSums: DimKernelsAVX512.addRowSums,
        layerNorm: DimKernelsAVX512.layerNorm,
        layerNormGradient: DimKernelsAVX512.layerNormGradient,
        layerNormGradientSums: DimKernelsAVX512.layerNormGradientSums,
        largest: DimKernelsAVX512.largest,
        total: DimKernelsAVX512.total,
        exponentials: DimKernelsAVX512.exponentials,
        softplus: DimKernelsAVX512.softplus)

    /// Those that this CPU and its operating system can run, the fastest first. Never empty.
    package static let supported: [KernelTable] = {
        let level = dim_system_x86_level()
        return (level >= 4 ? [avx512] : []) + (level >= 3 ? [avx2] : []) + [baseline]
    }()

    package static func named(_ name: String) -> KernelTable? {
        supported.first { $0.name == name }
    }
}

/// Products whose terms are rounded to bfloat16 and whose sums are float32. A word holds two terms that follow each other
/// along k, the first one below; words lie in memory of floats.
package struct BFloat16Kernels: @unchecked Sendable {
    /// As `gemm`, but that A and B are words: `depth`, `aRun` and every stride of A and B count words. The sum of a word's
    /// two products is rounded twice, that of the second terms first.
    package let gemm: (Gemm) -> Void
    package let pairAlong: (PairedRows) -> Void
    package let pairAcross: (PairedRows) -> Void

    static let supported: BFloat16Kernels? =
        dim_system_multiplies_bfloat16() == 0
        ? nil
        : BFloat16Kernels(
            gemm: DimKernelsBFloat16.gemm, pairAlong: DimKernelsBFloat16.pairAlong,
            pairAcross: DimKernelsBFloat16.pairAcross)
}

package enum DimKernels {
    /// The table the library uses: the one that `DIM_ISA` names if this machine can run it, else the fastest. Chosen once.
    package static let selected: KernelTable = setting.value.flatMap(KernelTable.named) ?? KernelTable.supported[0]
    private static let setting = Setting("DIM_ISA")

    /// The fault of `DIM_ISA`'s value.
    package static var fault: String? {
        guard let name = setting.value, KernelTable.named(name) == nil else { return nil }
        let here = KernelTable.supported.map(\.name).joined(separator: ", ")
        return setting.fault(expected: "what this processor has: \(here)")
    }
}
