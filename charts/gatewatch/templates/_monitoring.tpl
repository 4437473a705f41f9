{{/* The scrape endpoint of a monitor. The labels namespace and pod name the event's pod, so those of the target must not
overwrite them. The target's node has its own label. */}}
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
