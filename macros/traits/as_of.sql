{# The only "now" of the project: the variable `as_of`, or the current time, in UTC. #}
{% macro as_of() -%}
    {% set moment = var('as_of', none) -%}
    {# A model of the user's does not see a variable that is set for this package; `revetl_profiles` keeps it for them. -#}
    {% if not moment and execute -%}
        {% set profiles = graph.get('nodes', {}).get('model.revetl.revetl_profiles', {}) -%}
        {% set moment = profiles.get('config', {}).get('meta', {}).get('as_of') -%}
    {% endif -%}
    {{ "cast('" ~ moment ~ "' as " ~ revetl.type_of('timestamp') ~ ")" if moment else revetl.utc_now() }}
{%- endmacro %}
