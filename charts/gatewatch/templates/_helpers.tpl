{{- define "gatewatch.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 42 | trimSuffix "-" }}
{{- end }}

{{/* Prefix of all object names. At most 42 characters, so that it fits into 63 with a suffix. */}}
{{- define "gatewatch.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 42 | trimSuffix "-" }}
{{- else if contains (include "gatewatch.name" .) .Release.Name }}
{{- .Release.Name | trunc 42 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "gatewatch.name" .) | trunc 42 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* Labels that select pods; they never change. Takes (dict "root" $ "component" "agent"). */}}
{{- define "gatewatch.selectorLabels" -}}
app.kubernetes.io/name: {{ include "gatewatch.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* Labels of an object. Takes the same. */}}
{{- define "gatewatch.labels" -}}
{{ include "gatewatch.selectorLabels" . }}
app.kubernetes.io/part-of: gatewatch
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Takes (dict "root" $ "image" .Values.agent.image). */}}
{{- define "gatewatch.image" -}}
{{- if .image.digest -}}
{{ .image.repository }}@{{ .image.digest }}
{{- else -}}
{{ .image.repository }}:{{ default .root.Chart.AppVersion .image.tag }}
{{- end }}
{{- end }}

{{- define "gatewatch.agent" -}}{{ include "gatewatch.fullname" . }}-agent{{- end }}
{{- define "gatewatch.webhook" -}}{{ include "gatewatch.fullname" . }}-webhook{{- end }}
{{- define "gatewatch.enforcement" -}}{{ include "gatewatch.fullname" . }}-enforcement{{- end }}
{{- define "gatewatch.modes" -}}{{ include "gatewatch.fullname" . }}-modes{{- end }}
{{- define "gatewatch.certificate" -}}{{ include "gatewatch.webhook" . }}-tls{{- end }}

{{/* The Secret that the gate's replicas share and write. cert-manager writes its own Secret. */}}
{{- define "gatewatch.shared" -}}
{{- if eq .Values.webhook.certificates.source "self" }}{{ include "gatewatch.certificate" . }}
{{- else }}{{ include "gatewatch.webhook" . }}-path{{ end }}
{{- end }}

{{/* The enabled standard and application policies, as a JSON list of names. */}}
{{- define "gatewatch.policies" -}}
{{- $names := list }}
{{- range $name, $on := .Values.policies.standard }}
{{- if $on }}{{ $names = append $names $name }}{{ end }}
{{- end }}
{{- range $name, $on := omit .Values.policies.application "podSelector" }}
{{- if $on }}{{ $names = append $names $name }}{{ end }}
{{- end }}
{{- $names | sortAlpha | toJson }}
{{- end }}

{{/* The agent's arguments for the export of records; none without an output. */}}
{{- define "gatewatch.exportArguments" -}}
{{- with .Values.export }}
{{- if or .stdout .socket .otlp .exportFilename }}
{{- if .stdout }}
- --export-stdout
{{- end }}
{{- if .socket }}
- --export-socket=/run/gatewatch-export/events.sock
{{- end }}
{{- with .otlp }}
- {{ printf "--export-otlp=%s" . | quote }}
{{- end }}
{{- if .exportFilename }}
- {{ printf "--export-filename=/var/log/gatewatch/%s" .exportFilename | quote }}
- --export-file-perm={{ .exportFilePerm }}
- --export-file-max-size-mb={{ int64 .exportFileMaxSizeMB }}
- --export-file-max-backups={{ int64 .exportFileMaxBackups }}
- --export-file-rotation-interval={{ .exportFileRotationInterval }}
{{- if .exportFileCompress }}
- --export-file-compress
{{- end }}
{{- end }}
- --event-queue-size={{ int64 .eventQueueSize }}
- --export-rate-limit={{ int64 .exportRateLimit }}
{{- with .exportAllowList }}
- {{ printf "--export-allowlist=%s" . | toJson }}
{{- end }}
{{- with .exportDenyList }}
- {{ printf "--export-denylist=%s" . | toJson }}
{{- end }}
{{- with .fieldFilters }}
- {{ printf "--field-filters=%s" . | toJson }}
{{- end }}
{{- with .redactionFilters }}
- {{ printf "--redaction-filters=%s" . | toJson }}
{{- end }}
{{- if not .redaction }}
- --no-redaction
{{- end }}
{{- end }}
{{- end }}
{{- end }}
