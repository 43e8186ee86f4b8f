/// A map of one image: (channels, height, width). A vector is a map of one pixel.
package struct MapShape: Hashable {
    package let channels: Int
    package let height: Int
    package let width: Int

    package init(channels: Int, height: Int = 1, width: Int = 1) {
        self.channels = channels
        self.height = height
        self.width = width
    }

    @inlinable package var pixels: Int { height * width }
    /// Numbers an image.
    @inlinable package var size: Int { channels * pixels }
}
