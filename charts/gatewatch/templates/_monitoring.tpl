{{/* How a monitor scrapes. Labels namespace and pod are those of who made an event, so they are not to be overwritten by
those of the target; the target's node gets a label of its own. */}}
{{- define "gatewatch.endpoint" -}}
path: /metrics
honorLabels: true
{{- with .Values.prometheus.interval }}
interval: {{ . }}
{{- end }}
relabelings:
  - sourceLabels: [__meta_kubernetes_pod_node_name]
    targetLabel: node
  {{- with .Values.prometheus.relabelings }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .Values.prometheus.metricRelabelings }}
metricRelabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
