import DimArchitecture

/// The array to which a backward pass adds gradients of parameters. DimTraining implements it.
package protocol GradientTarget: AnyObject {
    /// By index into the network's specs.
    func pointer(_ network: Network, _ parameter: Int) -> UnsafeMutablePointer<Float>
}
