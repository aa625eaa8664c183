import MQTTPackets
import MQTTSessions

/// What tests and operators look at.
extension BrokerCore {
    /// What one session still has to do.
    package struct SessionInspection: Sendable, Equatable {
        /// Messages queued or in flight.
        package let unfinished: Int
        /// Messages not sent on this connection.
        package let queued: Int
        /// QoS 2 packet identifiers of the client that wait for PUBREL.
        package let unreleased: Int
        /// Whether retained messages are still owed.
        package let isReplaying: Bool
        package let isConnected: Bool
    }

    /// Nil where there is no such session.
    package func inspectSession(_ clientID: String) -> SessionInspection? {
        guard let s = sessionOfClient[Array(clientID.utf8)].map(Int.init) else { return nil }
        let outbound = sessions[s].state.outbound
        return SessionInspection(
            unfinished: outbound.unfinished,
            queued: outbound.queued,
            unreleased: sessions[s].state.inbound.unreleased.count,
            isReplaying: !sessions[s].replays.isEmpty,
            isConnected: sessions[s].connection >= 0
        )
    }

    private static var sessionsOfPage: Int { 2_000 }

    /// Sessions with something unfinished or dropped, a page of slots at a time; nil behind the last page.
    package func queues(page: Int) -> [SessionQueue]? {
        let slots = page * Self.sessionsOfPage..<(page + 1) * Self.sessionsOfPage
        guard slots.lowerBound < sessions.count else { return nil }
        return slots.clamped(to: sessions.indices).compactMap { s in
            guard !sessions[s].isFree else { return nil }
            let queue = queue(s)
            return queue.messages > 0 || queue.dropped.total > 0 ? queue : nil
        }
    }

    func queue(_ s: Int) -> SessionQueue {
        SessionQueue(
            clientID: sessions[s].state.clientID,
            isConnected: sessions[s].connection >= 0,
            messages: sessions[s].state.outbound.unfinished,
            bytes: sessions[s].state.outbound.bytesQueued,
            dropped: sessions[s].drops
        )
    }

    /// The clients whose CONNECT was accepted.
    package var connectedClients: Set<String> {
        Set(connections.lazy.filter { [.connected, .awaitingCommit].contains($0.state) }.map(\.client.id))
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

    private func isHeldOpen(_ c: Int) -> Bool { [.connected, .awaitingConnect].contains(connections[c].state) }

    /// Where figures that are kept differ from what is there; empty where all agree.
    package var disagreements: [String] {
        let kept = currentStatistics
        let live = sessions.filter { !$0.isFree }
        let ended = kept.copiesCompleted + kept.copiesDropped + UInt64(kept.copiesUnfinished)
        let pairs: [(what: String, kept: Int, counted: Int)] = [
            ("copies routed", Int(kept.copiesRouted), Int(ended)),
            ("copies unfinished", kept.copiesUnfinished, live.reduce(0) { $0 + $1.state.outbound.unfinished }),
            ("bytes queued", kept.queuedBytes, live.reduce(0) { $0 + $1.state.outbound.bytesHeld }),
            (
                "bytes queued in windows", kept.queuedBytesInWindows,
                live.reduce(0) { $0 + ($1.hasStoredQueue ? $1.state.outbound.bytesHeld : 0) }
            ),
            (
                "bytes queued in the store", kept.queuedBytesInStore,
                live.reduce(0) { $0 + $1.state.outbound.stored.bytes }
            ),
            ("bytes unsent", kept.unsentBytes, connections.reduce(0) { $0 + $1.output.bytes + $1.bytesInTransport }),
            ("packets unsent", kept.unsentPackets, connections.reduce(0) { $0 + $1.output.packets }),
            ("clients connected", kept.clientsConnected, connections.count { $0.state == .connected }),
            ("connections pending", pendingCount, connections.count { $0.state == .awaitingConnect }),
            ("bytes of wills", kept.willBytes, live.reduce(0) { $0 + ($1.will?.bytes ?? 0) }),
            (
                "bytes of subscriptions", kept.subscriptionBytes,
                live.reduce(0) { $0 + $1.subscriptionBytes } + graves.reduce(0) { $0 + $1.bytes }
            ),
            (
                "subscriptions shared of sessions", kept.sharedSubscriptions,
                live.reduce(0) { $0 + $1.sharedSubscriptions }
            ),
            ("subscriptions shared", kept.sharedSubscriptions, tree.groups.reduce(0) { $0 + $1.members.count }),
            (
                "subscriptions", kept.subscriptions - graves.reduce(0) { $0 + $1.subscriptions.count },
                live.reduce(0) { $0 + ($1.isLeaving ? 0 : $1.subscriptions.count) }
                    + subscriptionsLeft.values.reduce(0) { $0 + $1.count }
            ),
            ("bytes held", kept.heldBytes, held.values.reduce(0) { $0 + $1.packets.reduce(0) { $0 + $1.bytesHeld } }),
            ("connections with packets held", held.count, held.keys.count { isHeldOpen(Int($0)) }),
            ("whether packets are held", isHolding ? 1 : 0, isStoreFull || !held.isEmpty ? 1 : 0),
            ("bytes uncommitted", kept.uncommittedBytes, changesBytes + uncommittedBatches.reduce(0) { $0 + $1.bytes }),
        ]
        return pairs.filter { $0.kept != $0.counted }.map { "\($0.what): \($0.kept), and there are \($0.counted)" }
    }
}
