{# The only "now" of the project: the variable `as_of`, or the current time, in UTC. #}
{% macro as_of() -%}
    {% set moment = var('as_of', none) -%}
    {{ "cast('" ~ moment ~ "' as " ~ revetl.type_of('timestamp') ~ ")" if moment else revetl.utc_now() }}
{%- endmacro %}
