/// Where what the broker acknowledges is kept.
///
/// The broker calls `commit` with one batch at a time, in the order of their tickets, and acknowledges nothing in a batch
/// before it has returned.
public protocol MessageStore: Sendable {
    /// Whether changes outlive the process. A store that keeps nothing is not asked to.
    var isDurable: Bool { get }

    /// Commits all changes or, where it throws, none. A store that has thrown is not used any further.
    func commit(_ changes: [StoreChange]) async throws
}

/// Keeps nothing: sessions last as long as the process.
public struct VolatileStore: MessageStore {
    /// A store that keeps nothing.
    public init() {}

    /// False: nothing waits for this store.
    public var isDurable: Bool { false }

    /// Does nothing.
    public func commit(_ changes: [StoreChange]) async throws {}
}
