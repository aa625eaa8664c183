import MQTTPackets
import MQTTRouting
import MQTTSessions
import MQTTStore

/// The start on what a store has kept, before the first connection. Messages stay in the store until they are wanted.
extension BrokerCore {
    /// Takes up sessions, subscriptions and retained messages.
    package mutating func restore(_ state: StoredState, at now: Int64) {
        self.now = now
        if let broker = state.broker {
            nextIncarnation = max(nextIncarnation, broker.lastIncarnation + 1)
            retained.restored(version: broker.lastRetainedVersion)
        }
        for kept in state.retained { retained.restore(kept.message, version: kept.version) }
        // In the order in which they began, whatever order the store has them in.
        for stored in state.sessions.sorted(by: { $0.incarnation < $1.incarnation }) { restore(stored) }
    }

    private mutating func restore(_ stored: StoredSession) {
        var state = BrokerSession(
            clientID: stored.clientID,
            incarnation: stored.incarnation,
            expiryInterval: stored.expiryInterval
        )
        nextIncarnation = max(nextIncarnation, stored.incarnation + 1)
        for id in stored.retiredPacketIDs { state.outbound.retire(id) }
        for id in stored.receivedPacketIDs { _ = state.inbound.received(id) }
        state.connectionBegan()
        let s = addSession(state)
        sessions[s].isStored = true
        sessions[s].hasStoredQueue = stored.expiryInterval > 0 || stored.queuedMessages > 0
        withQueue(s) {
            $0.outbound.restore(
                count: stored.queuedMessages,
                bytes: stored.queuedBytes,
                nextNumber: stored.nextNumber,
                sendMark: stored.sendMark
            )
        }
        statistics.copiesRouted &+= UInt64(stored.queuedMessages)
        keepWill(stored.will.map(PendingWill.init), s)
        // One that is over, but for its messages, is to get no more of them.
        let isOver = stored.expiryInterval == 0 && stored.disconnectedAt != nil
        if !isOver {
            for subscription in stored.subscriptions.sorted(by: { $0.filter < $1.filter }) { restore(subscription, s) }
        }
        for replay in stored.replays.sorted(by: { $0.sequence < $1.sequence }) {
            sessions[s].replays.restore(RetainedReplay(replay))
        }
        for (topic, sequence) in stored.pulledTopics {
            sessions[s].replays.restorePulled(Array(topic.utf8), through: sequence)
        }
        countDown(s, from: stored.disconnectedAt)
    }

    private mutating func restore(_ subscription: StoredSubscription, _ s: Int) {
        guard let filter = ParsedFilter(subscription.filter) else { return }
        let key = Array(subscription.filter.utf8)
        sessions[s].subscriptions[key] = tree.insert(
            session: Int32(s),
            filter: filter,
            options: subscription.options,
            identifier: subscription.identifier
        )
        count(filter, bytes: key.count, s, 1)
    }

    /// Who was connected when the broker ended has lost the connection now. What is due is done by the timer, a page at a
    /// time, and not at once for all sessions.
    private mutating func countDown(_ s: Int, from disconnectedAt: Int64?) {
        let start = disconnectedAt ?? now
        let expiry = sessions[s].state.expiryInterval
        if let will = sessions[s].will {
            sessions[s].willDue = start + min(will.delay, expiry == .max ? .max : Int64(expiry) * 1_000)
        }
        if expiry != .max { sessions[s].endDue = start + Int64(expiry) * 1_000 }
        guard sessions[s].willDue != nil || sessions[s].endDue != nil else { return }
        sessions[s].isStoredDisconnected = true
        if disconnectedAt == nil { changeStored(s) { [now] in .sessionDisconnected(incarnation: $0, at: now) } }
        armSessionTimer(s)
    }
}
