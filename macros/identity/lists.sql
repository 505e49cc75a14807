{# A list of the identity rules, `cut_edges` or `blocked_identifiers`: the seed, model or snapshot that the project's variable
   of that name names, else the package's own, which is empty. #}
{% macro identity_list(name) %}
    {% set own = var(name, none) %}
    {{ return(ref(own) if own else ref('revetl', 'revetl_' ~ name)) }}
{% endmacro %}
