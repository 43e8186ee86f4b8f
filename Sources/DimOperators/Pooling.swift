import DimArchitecture
import DimKernels
import DimRuntime

/// torch.nn.MaxPool2d and AvgPool2d with PyTorch's defaults: ceil_mode False, count_include_pad True. The padding is at most
/// half the kernel, so that no window is empty. The first of several maxima in reading order counts; a NaN wins.
package struct Pooling {
    package enum Kind { case max, average }

    package let kind: Kind
    package let input: MapShape
    package let output: MapShape
    package let kernel: (rows: Int, columns: Int)
    package let stride: (rows: Int, columns: Int)
    package let padding: (rows: Int, columns: Int)
    let kernels: KernelTable

    package init(
        _ kind: Kind, input: MapShape, kernel: (rows: Int, columns: Int), stride: (rows: Int, columns: Int),
        padding: (rows: Int, columns: Int) = (0, 0), kernels: KernelTable = DimKernels.selected
    ) {
        precondition(2 * padding.rows <= kernel.rows && 2 * padding.columns <= kernel.columns)
        precondition(input.height + 2 * padding.rows >= kernel.rows)
        precondition(input.width + 2 * padding.columns >= kernel.columns)
        self.kind = kind
        self.input = input
        self.kernel = kernel
        self.stride = stride
        self.padding = padding
        self.kernels = kernels
        output = MapShape(
            channels: input.channels, height: (input.height + 2 * padding.rows - kernel.rows) / stride.rows + 1,
            width: (input.width + 2 * padding.columns - kernel.columns) / stride.columns + 1)
    }

    /// Of the indices that a maximum's gradient needs: as the output's activation.
    package func indexCount(images: Int) -> Int {
        kind == .max ? Activation.count(output, images: images) : 0
    }

    package func forward(_ x: Activation, into y: Activation, indices: UnsafeMutablePointer<Int32>?) {
        let pool = kind == .max ? kernels.maxPool : kernels.averagePool
        ThreadPool.shared.parallel(x.blocks * x.images) { task, _ in
            pool(map(task / x.images, task % x.images, x, y, indices))
        }
    }

    /// dx = the gradient of the input; `indices` are those of the forward pass.
    package func backward(_ dy: Activation, indices: UnsafePointer<Int32>?, into dx: Activation) {
        let gradient = kind == .max ? kernels.maxPoolGradient : kernels.averagePoolGradient
        let indices = indices.map { UnsafeMutablePointer(mutating: $0) }
        ThreadPool.shared.parallel(dx.blocks * dx.images) { task, _ in
            let map = map(task / dx.images, task % dx.images, dx, dy, indices)
            map.source.update(repeating: 0, count: input.pixels * 16)
            gradient(map)
        }
    }

    private func map(
        _ block: Int, _ image: Int, _ source: Activation, _ target: Activation, _ indices: UnsafeMutablePointer<Int32>?
    ) -> PoolMap {
        PoolMap(
            source: source.block(block) + image * input.pixels * 16, height: input.height, width: input.width,
            target: target.block(block) + image * output.pixels * 16, outputHeight: output.height,
            outputWidth: output.width, kernelRows: kernel.rows, kernelColumns: kernel.columns,
            rowStride: stride.rows, columnStride: stride.columns, rowPadding: padding.rows,
            columnPadding: padding.columns,
            indices: indices.map { $0 + block * target.blockStride + image * output.pixels * 16 })
    }
}
