import DimArchitecture

/// A batch of maps as the operators of any architecture keep it: (channels/16, images x height x width, 16). A block holds
/// 16 channels of every pixel of every image, so that pixels are the rows of a matrix product, a channel's statistics run
/// over contiguous memory, and a vector is a map of one pixel. It owns nothing.
///
/// The number of blocks is even, since products are 32 columns wide; lanes past the last channel are zero. See
/// docs/operators.md.
package struct Activation {
    package static let block = 16

    package let shape: MapShape
    package let images: Int
    package let pointer: UnsafeMutablePointer<Float>

    package init(_ pointer: UnsafeMutablePointer<Float>, _ shape: MapShape, images: Int) {
        self.pointer = pointer
        self.shape = shape
        self.images = images
    }

    /// images x height x width.
    package var rows: Int { images * shape.pixels }
    package var blocks: Int { Activation.blocks(shape.channels) }
    package var blockStride: Int { Activation.blockStride(rows: rows) }
    /// The first row of a block of channels.
    package func block(_ index: Int) -> UnsafeMutablePointer<Float> { pointer + index * blockStride }

    package static func blocks(_ channels: Int) -> Int { (channels + 31) / 32 * 2 }

    /// Floats from one block to the next: not a multiple of 4 KB, which would map all blocks to few cache sets.
    package static func blockStride(rows: Int) -> Int { rows % 64 == 0 ? rows * block + block : rows * block }

    /// Floats that a batch takes.
    package static func count(_ shape: MapShape, images: Int) -> Int {
        blocks(shape.channels) * blockStride(rows: images * shape.pixels)
    }
}
