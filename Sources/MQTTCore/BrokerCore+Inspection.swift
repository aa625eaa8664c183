import MQTTPackets
import MQTTSessions

/// What tests look at and nothing else does.
extension BrokerCore {
    /// What one session still has to do.
    package struct SessionInspection: Sendable, Equatable {
        /// Messages queued or in flight.
        package let unfinished: Int
        /// Messages not sent on this connection.
        package let queued: Int
        /// QoS 2 packet identifiers of the client that wait for PUBREL.
        package let unreleased: Int
        /// Retained replays that are not at their end.
        package let replays: Int
        package let isConnected: Bool
    }

    /// Nil where there is no such session.
    package func inspectSession(_ clientID: String) -> SessionInspection? {
        guard let s = sessionOfClient[Array(clientID.utf8)].map(Int.init) else { return nil }
        let outbound = sessions[s].state.outbound
        return SessionInspection(
            unfinished: Int(outbound.end - outbound.first),
            queued: outbound.queued,
            unreleased: sessions[s].state.inbound.unreleased.count,
            replays: sessions[s].replays.count,
            isConnected: sessions[s].connection >= 0
        )
    }

    /// Whether packets from this connection are still handled.
    package func isOpen(_ id: ConnectionID) -> Bool {
        guard let c = index(id) else { return false }
        return connections[c].state != .closing
    }

    /// Bytes in all send buffers, and answers that wait for a commit.
    package var unsentBytes: Int { connections.reduce(0) { $0 + $1.output.bytes } }
    package var waitingAnswers: Int { connections.reduce(0) { $0 + $1.waiting.count } }
    package var timerCount: Int { timers.count }
    package var treeNodeCount: Int { tree.nodeCount }
    package var pausedConnections: Int { connections.count { $0.isReadingPaused } }
}
