import MQTTPackets

/// What the core is told once, at its start.
package struct CoreConfiguration: Sendable {
    package var limits = Limits()
    package var loops = 1
    /// Chosen at random by the edge; fixed in tests.
    package var seed: UInt64 = 0
    /// Milliseconds.
    package var connectTimeout: Int64 = 30_000
    /// Seconds; 0 leaves the keep alive to the client.
    package var keepAliveMax: UInt16 = 0
    package var responseInformation: String?
    /// Whether what is acknowledged has to be committed first.
    package var isDurable = false

    package init() {}
}

/// A connection, for as long as it lasts.
package struct ConnectionID: Sendable, Hashable {
    package let slot: Int32
    package let generation: UInt32

    package init(slot: Int32, generation: UInt32) {
        self.slot = slot
        self.generation = generation
    }
}

/// What happened, for the log and for observers. Told after the lock is released.
package enum CoreEvent: Sendable, Equatable {
    case connected(clientID: String, address: String, version: ProtocolVersion, sessionPresent: Bool, keepAlive: UInt16)
    /// The client identifier is empty where none was accepted.
    case disconnected(clientID: String, address: String, version: ProtocolVersion?, reason: String)
}
