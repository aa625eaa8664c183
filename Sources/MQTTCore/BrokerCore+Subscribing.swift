import MQTTPackets
import MQTTRouting
import MQTTStore

extension BrokerCore {
    func checkNoLocal(_ subscribe: Subscribe) throws(DecodingError) {
        for filter in subscribe.filters where filter.options.noLocal && filter.filter.hasPrefix("$share/") {
            throw .protocolError("No Local on a shared subscription")  // [MQTT-3.8.3-4]
        }
    }

    /// `refused` has a reason for each filter that is not to be had; it is empty where nobody was asked.
    mutating func subscribeReceived(_ subscribe: Subscribe, _ refused: [ReasonCode?], _ c: Int) throws(DecodingError) {
        let s = session(of: c)
        let clientID = sessions[s].state.clientID
        try checkNoLocal(subscribe)
        let identifier = subscribe.properties[integer: .subscriptionIdentifier] ?? 0
        var reasonCodes: [ReasonCode] = []
        for (number, filter) in subscribe.filters.enumerated() {
            budget -= 1
            let refusal = refused.isEmpty ? nil : refused[number]
            reasonCodes.append(refusal ?? self.subscribe(filter, identifier, s))  // [MQTT-3.8.4-6]
        }
        let suback = Suback(packetID: subscribe.packetID, reasonCodes: reasonCodes)
        pauseForReplays(s, c)
        answer(c, .suback(suback), after: awaited(sessions[s].lastTicket, .suback))
        pump(c)
        emitSubscribed(c, subscribe.filters, reasonCodes)
        tellSubscribed(subscribe, reasonCodes, clientID)
    }

    mutating func subscribe(_ wanted: Subscribe.Filter, _ identifier: UInt32, _ s: Int) -> ReasonCode {
        guard let filter = ParsedFilter(wanted.filter) else { return .topicFilterInvalid }
        let key = Array(wanted.filter.utf8)
        guard key.count <= limits.topicBytesMax, isWithinLimits(filter.filter.span) else { return .topicFilterInvalid }
        guard !hasTooManyReplays(s) else { return .quotaExceeded }
        let known = sessions[s].subscriptions[key]
        if let known {
            tree.update(known, options: wanted.options, identifier: identifier)  // [MQTT-3.8.4-3]
        } else {
            guard hasRoomToSubscribe(filter, bytes: key.count, s) else { return .quotaExceeded }
            let number = tree.insert(
                session: Int32(s),
                filter: filter,
                options: wanted.options,
                identifier: identifier
            )
            sessions[s].subscriptions[key] = number
            count(filter, bytes: key.count, s, 1)
        }
        if configuration.isDurable {
            let stored = StoredSubscription(filter: wanted.filter, options: wanted.options, identifier: identifier)
            change(s) { .subscribed(stored, incarnation: $0) }
        }
        beginReplay(wanted, filter, identifier, isNew: known == nil, s)
        return ReasonCode(rawValue: wanted.options.qos.rawValue)
    }

    private func hasRoomToSubscribe(_ filter: ParsedFilter, bytes: Int, _ s: Int) -> Bool {
        let held = Self.bytesHeld(ofFilter: bytes)
        return sessions[s].subscriptions.count < limits.subscriptionsMax
            && sessions[s].treeNodes + Self.levels(filter) <= limits.treeNodesMax
            && sessions[s].subscriptionBytes + held <= limits.subscriptionBytesMax
            && statistics.subscriptionBytes + held <= limits.subscriptionBytesInAllMax
            && (filter.group == nil || sessions[s].sharedSubscriptions < limits.sharedSubscriptionsMax)
    }

    /// A subscription of a session comes (1) or goes (-1).
    mutating func count(_ filter: ParsedFilter, bytes: Int, _ s: Int, _ sign: Int) {
        let held = sign * Self.bytesHeld(ofFilter: bytes)
        sessions[s].treeNodes += sign * Self.levels(filter)
        sessions[s].subscriptionBytes += held
        statistics.subscriptionBytes += held
        guard filter.group != nil else { return }
        sessions[s].sharedSubscriptions += sign
        statistics.sharedSubscriptions += sign
    }

    private static func levels(_ filter: ParsedFilter) -> Int {
        1 + filter.filter.count { $0 == Topics.separator }
    }

    /// The filter stands in the session and, level by level, in the tree.
    private static func bytesHeld(ofFilter bytes: Int) -> Int { 2 * bytes + 256 }

    mutating func unsubscribeReceived(_ unsubscribe: Unsubscribe, _ c: Int) {
        let s = session(of: c)
        let clientID = sessions[s].state.clientID
        let reasonCodes = self.unsubscribe(unsubscribe.filters, s)
        let unsuback = Unsuback(packetID: unsubscribe.packetID, reasonCodes: reasonCodes)
        answer(c, .unsuback(unsuback), after: awaited(sessions[s].lastTicket, .unsuback))
        emitUnsubscribed(c, unsubscribe.filters, reasonCodes)
        tellUnsubscribed(unsubscribe, reasonCodes, clientID)
    }

    mutating func unsubscribe(_ filters: [String], _ s: Int) -> [ReasonCode] {
        var reasonCodes: [ReasonCode] = []
        var groups: Set<UInt32> = []
        for filter in filters {
            budget -= 1
            reasonCodes.append(self.unsubscribe(filter, s, &groups))
        }
        if !groups.isEmpty { redistribute(from: s, onlyUnsent: true) { groups.contains($0) } }
        return reasonCodes
    }

    /// `groups` gets the shared subscription that the session is no member of any more.
    mutating func unsubscribe(_ filter: String, _ s: Int, _ groups: inout Set<UInt32>) -> ReasonCode {
        let key = Array(filter.utf8)
        guard let parsed = ParsedFilter(filter) else { return .topicFilterInvalid }
        guard let number = sessions[s].subscriptions.removeValue(forKey: key) else { return .noSubscriptionExisted }
        let group = tree.subscriptions[Int(number)].shared
        if group >= 0 { groups.insert(tree.groups[Int(group)].id) }
        tree.remove(number)
        count(parsed, bytes: key.count, s, -1)
        endReplay(key, s)
        change(s) { .unsubscribed(incarnation: $0, filter: filter) }
        return .success
    }

    // MARK: Shared subscriptions

    /// The member whose turn it is: connected ones first, those with a short queue before the others, and last those
    /// whose queue is full.
    mutating func selectMember(_ group: Int32, qos: QoS) -> Int32? {
        let sessions = sessions
        let connections = connections
        let (limits, queuedBytes) = (limits, statistics.queuedBytes)
        return tree.selectMember(group) { session in
            let connection = Int(sessions[Int(session)].connection)
            let queued = sessions[Int(session)].state.outbound.queued
            let bytes = sessions[Int(session)].state.outbound.bytesQueued
            let isStored = sessions[Int(session)].hasStoredQueue
            let hasRoom =
                qos == .atMostOnce
                || Self.hasRoom(queued, bytes, isStored: isStored, queuedBytesInAll: queuedBytes, limits)
            guard hasRoom else { return 3 }
            guard connection >= 0 else { return qos == .atMostOnce ? nil : 2 }
            guard connections[connection].state == .connected else { return 1 }
            return queued > limits.inFlightMax ? 1 : 0
        }
    }

    /// Gives what a leaving member has not acknowledged to other members, in its order. Messages of QoS 2 that were
    /// begun are never sent to another [MQTT-4.8.2-5].
    mutating func redistribute(from s: Int, onlyUnsent: Bool, where isWanted: (UInt32) -> Bool = { _ in true }) {
        let numbers = sessions[s].state.outbound.numbers { head in
            guard head.group > 0, isWanted(head.group) else { return false }
            let isUnacknowledged = head.state == .sent && head.qos == .atLeastOnce
            return head.state == .queued || (!onlyUnsent && isUnacknowledged)
        }
        for number in numbers {
            // What another's queue has taken the place of in memory comes with a later page.
            guard sessions[s].state.outbound.isUnfinished(number) else { continue }
            let entry = sessions[s].state.outbound[number]
            guard let message = entry.message else { continue }
            finish(number, s)
            guard message.expiresAt > now else {
                drop(.expired, s, bytes: message.view.payload.count, of: message)  // [MQTT-3.3.2-5]
                continue
            }
            guard let shared = tree.group(id: entry.group),
                let member = selectMember(shared, for: message, qos: entry.qos)
            else {
                drop(.noMember, s, bytes: message.view.payload.count, of: message)
                continue
            }
            let bytes = message.bytes
            var publication = Publication(message)
            let subscription = tree.subscriptions[Int(member)]
            let (receiver, identifiers) = (Receiver(subscription), subscription.identifiers)
            _ = deliver(bytes.span, message.view, &publication, to: receiver, identifiers, group: entry.group)
        }
    }
}
